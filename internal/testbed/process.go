package testbed

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a server under test. It dies with us.
type process struct {
	log     string // path of the file that takes its output
	cmd     *exec.Cmd
	done    chan struct{} // closed when it has ended
	running bool
}

// start runs the program in dir; its log begins anew.
func (p *process) start(dir string, args []string) error {
	log, err := os.Create(p.log)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr, cmd.Dir = log, log, dir
	// It dies with us, also when a test panics. That is bound to the thread that
	// started it, which must live as long.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(done)
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return err
	}
	p.cmd, p.done, p.running = cmd, done, true
	return nil
}

// untilReady asks ready until it says so, the process has ended, or limit has passed.
func (p *process) untilReady(limit time.Duration, ready func() bool) error {
	deadline := time.Now().Add(limit)
	for time.Now().Before(deadline) {
		select {
		case <-p.done:
			return fmt.Errorf("it ended: %v", p.cmd.ProcessState)
		case <-time.After(50 * time.Millisecond): // between two looks
		}
		if ready() {
			return nil
		}
	}
	p.end(syscall.SIGKILL)
	return fmt.Errorf("not ready after %v", limit)
}

// text returns what it wrote to its log since it was started last.
func (p *process) text() string {
	text, _ := os.ReadFile(p.log)
	return string(text)
}

// end sends the signal, waits, and kills what does not end.
func (p *process) end(sig syscall.Signal) {
	if !p.running {
		return
	}
	p.running = false
	p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
	}
}

func (p *process) signal(sig syscall.Signal) { p.cmd.Process.Signal(sig) }
