// Command bench follows a file under rotation with lbshipd's follower and with
// nxadm/tail, and prints what each lost, duplicated and tore, and its
// processor time.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// tally counts the numbered lines that came.
type tally struct {
	mu    sync.Mutex
	times []uint8
	torn  int
	total int
}

const lineEnd = "the quick brown fox jumps over the lazy dog and goes on until the line is as long as lines are, which is about 150 bytes in all"

func (t *tally) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total++
	num, rest, _ := strings.Cut(line, " ")
	n, err := strconv.Atoi(num)
	if err != nil || rest != lineEnd || n < 0 || n > 1<<30 {
		t.torn++
		return
	}
	for n >= len(t.times) {
		t.times = append(t.times, make([]uint8, 1<<16)...)
	}
	if t.times[n] < 255 {
		t.times[n]++
	}
}

func (t *tally) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.total
}

func (t *tally) result(written int) (lost, duplicated, torn int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for n := range written {
		switch {
		case n >= len(t.times) || t.times[n] == 0:
			lost++
		default:
			duplicated += int(t.times[n]) - 1
		}
	}
	return lost, duplicated, t.torn
}

// follower follows path until stop is called.
type follower struct {
	name  string
	start func(path string, t *tally) (stop func(), err error)
}

var followers = []follower{
	{"lbshipd", startOurs},
	{"nxadm/tail, inotify", func(p string, t *tally) (func(), error) { return startTail(p, t, false) }},
	{"nxadm/tail, polling", func(p string, t *tally) (func(), error) { return startTail(p, t, true) }},
}

func main() {
	length := flag.Duration("for", 5*time.Second, "length of a run")
	every := flag.Duration("every", 250*time.Millisecond, "time between rotations")
	rate := flag.Int("rate", 50000, "lines a second")
	runs := flag.Int("runs", 1, "runs of each")
	role := flag.String("role", "", "what this process is: writer or follower (internal)")
	how := flag.String("rotate", "", "way of rotation (internal)")
	path := flag.String("path", "", "file (internal)")
	number := flag.Int("follower", 0, "index of the follower (internal)")
	flag.Parse()
	var err error
	switch *role {
	case "writer":
		err = writeLines(*path, *how, *length, *every, *rate)
	case "follower":
		err = followLines(*path, followers[*number])
	default:
		err = compare(*length, *every, *rate, *runs)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// compare runs every follower on every way of rotation.
func compare(length, every time.Duration, rate, runs int) error {
	fmt.Printf("%-18s %-20s %9s %9s %7s %7s %7s %6s\n", "rotation", "follower", "lines", "lost", "lost%", "dup", "torn", "CPU%")
	for _, r := range rotations {
		for i, f := range followers {
			for range runs {
				line, err := runOne(r.name, i, length, every, rate)
				if err != nil {
					return fmt.Errorf("%s with %s: %w", r.name, f.name, err)
				}
				fmt.Printf("%-18s %-20s %s\n", r.name, f.name, line)
			}
		}
	}
	return nil
}

// runOne runs one follower as a process of its own, with a writer beside it.
func runOne(how string, number int, length, every time.Duration, rate int) (string, error) {
	dir, err := os.MkdirTemp("", "rotation")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "app.log")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		return "", err
	}
	reader := exec.Command(self, "-role", "follower", "-path", path, "-follower", strconv.Itoa(number))
	reader.Stderr = os.Stderr
	var out strings.Builder
	reader.Stdout = &out
	stdin, err := reader.StdinPipe()
	if err != nil {
		return "", err
	}
	if err := reader.Start(); err != nil {
		return "", err
	}
	time.Sleep(300 * time.Millisecond) // every follower has opened the file by then
	writer := exec.Command(self, "-role", "writer", "-path", path, "-rotate", how,
		"-for", length.String(), "-every", every.String(), "-rate", strconv.Itoa(rate))
	written, err := writer.Output()
	if err != nil {
		return "", fmt.Errorf("writer: %w", err)
	}
	fmt.Fprintf(stdin, "%s\n", strings.TrimSpace(string(written)))
	stdin.Close()
	if err := reader.Wait(); err != nil {
		return "", fmt.Errorf("follower: %w: %s", err, out.String())
	}
	return strings.TrimSpace(out.String()), nil
}

// followLines follows until it is told on stdin how many lines were written,
// and nothing has come for two seconds.
func followLines(path string, f follower) error {
	t := &tally{}
	stop, err := f.start(path, t)
	if err != nil {
		return err
	}
	began := time.Now()
	var written int
	if _, err := fmt.Fscan(os.Stdin, &written); err != nil {
		return err
	}
	took, used := time.Since(began), cpu()
	for before := -1; before != t.count(); {
		before = t.count()
		time.Sleep(2 * time.Second)
	}
	stop()
	lost, duplicated, torn := t.result(written)
	fmt.Printf("%9d %9d %7.2f %7d %7d %6.1f\n", written, lost, 100*float64(lost)/float64(max(1, written)), duplicated, torn,
		100*used.Seconds()/took.Seconds())
	return nil
}

func cpu() time.Duration {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
