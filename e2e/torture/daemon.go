package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// daemon is lbshipd under torture: one at a time, started again and again on
// the same data directory.
type daemon struct {
	bin, conf, data, logs, admin, clock string
	book                                *book
	count                               *counts

	mu     sync.Mutex
	cmd    *exec.Cmd
	dead   chan struct{}
	wanted bool // it is to end
	starts int
	since  time.Time
	deaf   []span // when it could not see what happens
	deaths []time.Time
}

// span is a time from..to.
type span struct{ from, to time.Time }

// start runs it and waits until it is ready.
func (d *daemon) start() {
	d.starts++
	log, err := os.Create(filepath.Join(d.logs, fmt.Sprintf("lbshipd.%03d.log", d.starts)))
	if err != nil {
		d.book.find("rig", "%v", err)
		return
	}
	defer log.Close()
	if d.admin == "" {
		d.admin = freeAddress()
	}
	cmd := exec.Command(d.bin, "run", "--config", d.conf, "--data-dir", d.data, "--listen", d.admin, "--stop-timeout", "3s")
	cmd.Stderr = log
	cmd.Env = append(os.Environ(), "LBSHIPD_CLOCK="+d.clock, "GORACE=halt_on_error=1 exitcode=66", "GOTRACEBACK=all")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		d.book.find("rig", "starting lbshipd: %v", err)
		return
	}
	dead := make(chan struct{})
	d.mu.Lock()
	d.cmd, d.dead, d.wanted, d.since = cmd, dead, false, time.Now()
	d.mu.Unlock()
	go func() {
		cmd.Wait()
		d.mu.Lock()
		wanted := d.wanted
		d.mu.Unlock()
		if !wanted {
			d.book.find("daemon", "lbshipd ended by itself: %v, see %s", cmd.ProcessState, log.Name())
		}
		close(dead)
	}()
	ready := await(60*time.Second, func() bool {
		if d.ended() {
			return true
		}
		code, _ := d.get("/-/ready")
		return code == http.StatusOK
	})
	d.mu.Lock()
	if n := len(d.deaf); n > 0 && d.deaf[n-1].to.IsZero() {
		d.deaf[n-1].to = time.Now()
	}
	d.mu.Unlock()
	if !ready {
		d.book.find("daemon", "lbshipd is not ready after a minute, see %s", log.Name())
	}
}

func (d *daemon) ended() bool {
	select {
	case <-d.dead:
		return true
	default:
		return false
	}
}

// end sends a signal that ends it and waits for that.
func (d *daemon) end(signal syscall.Signal) {
	d.mu.Lock()
	d.wanted = true
	d.deaf = append(d.deaf, span{from: time.Now()})
	d.deaths = append(d.deaths, time.Now())
	d.mu.Unlock()
	d.cmd.Process.Signal(signal)
	select {
	case <-d.dead:
	case <-time.After(45 * time.Second):
		d.book.find("daemon", "lbshipd does not end after %v", signal)
		d.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines into its log
		select {
		case <-d.dead:
		case <-time.After(10 * time.Second):
			d.cmd.Process.Kill()
			<-d.dead
		}
	}
	code := d.cmd.ProcessState.ExitCode()
	if signal == syscall.SIGTERM && code != 0 {
		d.book.find("daemon", "lbshipd ended with exit code %d after SIGTERM", code)
	}
}

// deathsAfter returns when it died in the minute after a moment, or just before.
func (d *daemon) deathsAfter(at time.Time) (all []time.Time) {
	for _, t := range d.deaths {
		if !at.IsZero() && t.After(at.Add(-5*time.Second)) && t.Before(at.Add(time.Minute)) {
			all = append(all, t)
		}
	}
	return all
}

// diedSince reports whether it died since a time, Unix ns.
func (d *daemon) diedSince(t int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	n := len(d.deaths)
	return n > 0 && d.deaths[n-1].UnixNano() > t
}

// diedAt returns when it died, Unix ns.
func (d *daemon) diedAt() (all []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, t := range d.deaths {
		all = append(all, t.UnixNano())
	}
	return all
}

// deafFor reports whether a file came and went while it could not see it.
func (d *daemon) deafFor(g *generation) bool {
	for _, t := range d.deaf {
		if !g.vanished.IsZero() && t.from.Before(g.made.Add(time.Second)) && t.to.After(g.vanished) {
			return true
		}
	}
	return false
}

// withoutInotify reports whether it had to do without for a while: this machine's
// other programs may have taken all instances.
func (d *daemon) withoutInotify() bool {
	return d.said("inotify cannot be had")
}

// said reports whether it ever said something.
func (d *daemon) said(what string) bool {
	logs, _ := filepath.Glob(filepath.Join(d.logs, "lbshipd.*.log"))
	for _, name := range logs {
		if text, err := os.ReadFile(name); err == nil && bytes.Contains(text, []byte(what)) {
			return true
		}
	}
	return false
}

// pause stops its process for a while.
func (d *daemon) pause(for_ time.Duration) {
	from := time.Now()
	d.cmd.Process.Signal(syscall.SIGSTOP)
	time.Sleep(for_)
	d.cmd.Process.Signal(syscall.SIGCONT)
	d.mu.Lock()
	d.deaf = append(d.deaf, span{from, time.Now()})
	d.mu.Unlock()
}

func (d *daemon) get(path string) (int, string) {
	client := http.Client{Timeout: 5 * time.Second}
	resp, err := client.Get("http://" + d.admin + path)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// metrics returns all series with their values.
func (d *daemon) metrics() map[string]float64 {
	_, body := d.get("/metrics")
	all := map[string]float64{}
	for line := range strings.Lines(body) {
		at := strings.LastIndexByte(line, ' ')
		if line[0] == '#' || at < 0 {
			continue
		}
		if v, err := strconv.ParseFloat(strings.TrimSpace(line[at:]), 64); err == nil {
			all[line[:at]] = v
		}
	}
	return all
}

// usage is what the process holds.
type usage struct {
	rssKiB, peakKiB, threads, files int
}

func (d *daemon) usage() (u usage, ok bool) {
	d.mu.Lock()
	pid := d.cmd.Process.Pid
	d.mu.Unlock()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return u, false
	}
	for line := range bytes.Lines(status) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		n, _ := strconv.Atoi(string(bytes.TrimSuffix(bytes.TrimSpace(value), []byte(" kB"))))
		switch string(name) {
		case "VmRSS":
			u.rssKiB = n
		case "VmHWM":
			u.peakKiB = n
		case "Threads":
			u.threads = n
		}
	}
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	u.files = len(open)
	return u, err == nil && u.rssKiB > 0
}

// faulted looks through its logs for what no fault excuses.
func (d *daemon) faulted() {
	logs, _ := filepath.Glob(filepath.Join(d.logs, "lbshipd.*.log"))
	for _, name := range logs {
		text, err := os.ReadFile(name)
		if err != nil {
			d.book.find("rig", "%v", err)
		}
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:", "goroutine 1 ["} {
			if bytes.Contains(text, []byte(bad)) {
				d.book.find("daemon", "%s has %q", name, bad)
			}
		}
	}
}

// freeAddress is one of 127.0.0.1 that was free a moment ago.
func freeAddress() string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "127.0.0.1:0"
	}
	defer l.Close()
	return l.Addr().String()
}
