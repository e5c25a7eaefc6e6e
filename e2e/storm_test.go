package e2e

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// recorder is a syslog server over plain TCP that remembers which lines of
// which writer it was sent, in the order of their first coming.
type recorder struct {
	address string

	mu    sync.Mutex
	order map[string][]int
	have  map[string]map[int]bool
}

var stormLine = regexp.MustCompile(`writer=(\w+) n=(\d+) end`)

func startRecorder(t *testing.T) *recorder {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	r := &recorder{address: l.Addr().String(), order: map[string][]int{}, have: map[string]map[int]bool{}}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go r.serve(c)
		}
	}()
	return r
}

func (r *recorder) serve(c net.Conn) {
	defer c.Close()
	lines := bufio.NewScanner(c)
	for lines.Scan() {
		m := stormLine.FindSubmatch(lines.Bytes())
		if m == nil {
			continue
		}
		n, _ := strconv.Atoi(string(m[2]))
		r.take(string(m[1]), n)
	}
}

func (r *recorder) take(writer string, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.have[writer] == nil {
		r.have[writer] = map[int]bool{}
	}
	if !r.have[writer][n] {
		r.have[writer][n] = true
		r.order[writer] = append(r.order[writer], n)
	}
}

// missing counts the lines below total that never came, from the writer's first
// on that did, and late those that came after a later one.
func (r *recorder) missing(writer string, total int) (runs string, n, late int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	first, high := total, -1
	for _, k := range r.order[writer] {
		first = min(first, k)
		if k < high {
			late++
		}
		high = max(high, k)
	}
	for k := first; k < total; k++ {
		if !r.have[writer][k] {
			n++
		}
	}
	counts := map[int]int{}
	for k := range r.have[writer] {
		counts[k] = 1
	}
	for k := range first {
		counts[k] = 1
	}
	return missing(counts, total), n, late
}

// has reports whether the line was given.
func (r *recorder) has(writer string, n int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.have[writer][n]
}

// stormWriter writes numbered lines to w<name>.log, and renames it, within the
// globs or out of them.
type stormWriter struct {
	name string
	dir  string
	n    int
	seen func(n int) bool // some target has line n
}

// await waits until the file that begins with line n was seen, or for a second if
// no target is there to tell: of files that come and go while a busy machine does not let
// the daemon look, several are found at once, and in no order.
func (w *stormWriter) await(n int) {
	for deadline := time.Now().Add(time.Second); !w.seen(n) && time.Now().Before(deadline); {
		<-time.After(10 * time.Millisecond)
	}
}

func (w *stormWriter) run(stop <-chan struct{}, within bool) error {
	path := filepath.Join(w.dir, "w"+w.name+".log")
	for rotations := 0; ; rotations++ {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		first := w.n
		for range 25 {
			select {
			case <-stop:
				return f.Close()
			case <-time.After(10 * time.Millisecond):
			}
			var text []byte
			for range 20 {
				text = fmt.Appendf(text, "writer=%s n=%d end\n", w.name, w.n)
				w.n++
			}
			if _, err := f.Write(text); err != nil {
				return err
			}
		}
		f.Close()
		w.await(first)
		to := fmt.Sprintf("%s.%d", path, rotations)
		if within && rotations%2 == 0 {
			to = fmt.Sprintf("%s/w%s-%d.log", w.dir, w.name, rotations)
		}
		if err := os.Rename(path, to); err != nil {
			return err
		}
	}
}

// stormConfig is a configuration as the storm has it at one moment.
type stormConfig struct {
	glob   string
	label  int
	a, b   string // "on", "disabled", "removed"
	aa, bb string // addresses
}

func (c *stormConfig) text() string {
	text := fmt.Sprintf(`
sources:
  - name: app
    file: {paths: [%q]}
    logFormat: raw
    startAt: beginning
    labels: {round: "%d"}
targets:
`, c.glob, c.label)
	for name, t := range map[string][2]string{"a": {c.a, c.aa}, "b": {c.b, c.bb}} {
		if t[0] != "removed" {
			text += fmt.Sprintf("  - {name: %s, enabled: %v, rsyslog: {address: %q, protocol: tcp, framing: newline}}\n", name, t[0] == "on", t[1])
		}
	}
	return text + "  - {name: z, enabled: false, stdout: {}}\n"
}

// Targets that come and go, labels that change and kills in between, while
// files are rotated: every target is given every line, in each writer's order.
func TestStormOfReloadsLosesNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		glob           string
		within         bool // some files keep a name in the globs
		labels, others bool // the source changes too; the other target is away at times too
		kills          int
		ordered        bool
	}{
		{name: "one target is away at times", glob: "w*.log", kills: 3, ordered: true},
		{name: "both are away at times", glob: "w*.log", others: true, kills: 3, ordered: true},
		{name: "the source changes", glob: "w?.log", labels: true, ordered: true},
		{name: "files keep a name in the globs", glob: "w*.log", within: true, kills: 3},
		{name: "all at once", glob: "w*.log", labels: true, others: true, kills: 3, ordered: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			seed := uint64(time.Now().UnixNano())
			if s, err := strconv.ParseUint(os.Getenv("LBSHIPD_SEED"), 10, 64); err == nil {
				seed = s
			}
			t.Logf("seed %d (LBSHIPD_SEED repeats it)", seed)
			random := rand.New(rand.NewPCG(seed, 1))
			logs, data, conf := t.TempDir(), t.TempDir(), filepath.Join(t.TempDir(), "lbshipd.yaml")
			a, b := startRecorder(t), startRecorder(t)
			cfg := stormConfig{glob: filepath.Join(logs, c.glob), a: "on", b: "on", aa: a.address, bb: b.address}
			put := func() {
				if err := os.Rename(write(t, conf+".new", cfg.text()), conf); err != nil {
					t.Fatal(err)
				}
			}
			put()
			stop, stopped := make(chan struct{}), make(chan error, 3)
			var writers []*stormWriter
			for i := range 3 {
				name := strconv.Itoa(i)
				w := &stormWriter{name: name, dir: logs, seen: func(n int) bool { return a.has(name, n) || b.has(name, n) }}
				writers = append(writers, w)
				go func() { stopped <- w.run(stop, c.within) }()
			}
			d := start(t, nil, "--config", conf, "--data-dir", data)
			await(t, "the first lines at both", func() bool {
				for _, w := range writers {
					for _, r := range []*recorder{a, b} {
						r.mu.Lock()
						n := len(r.have[w.name])
						r.mu.Unlock()
						if n == 0 {
							return false
						}
					}
				}
				return true
			})
			<-time.After(1200 * time.Millisecond) // its positions are saved once a second
			began, kills := time.Now(), 0
			for time.Since(began) < 8*time.Second {
				pick := func() string { return []string{"on", "disabled", "removed"}[random.IntN(3)] }
				cfg.a = pick()
				if c.others {
					cfg.b = pick()
				}
				if c.labels && random.IntN(2) == 0 {
					cfg.label++
				}
				put()
				d.cmd.Process.Signal(syscall.SIGHUP)
				<-time.After(time.Duration(10+random.IntN(1190)) * time.Millisecond) // the moment of the next change, not a wait for something
				if time.Since(began) > time.Duration(kills+1)*2*time.Second && kills < c.kills {
					kills++
					d.kill()
					d = start(t, nil, "--config", conf, "--data-dir", data)
				}
			}
			cfg.a, cfg.b = "on", "on"
			put()
			d.cmd.Process.Signal(syscall.SIGHUP)
			close(stop)
			for range writers {
				if err := <-stopped; err != nil {
					t.Fatal(err)
				}
			}
			all := func() bool {
				for _, w := range writers {
					for _, r := range []*recorder{a, b} {
						if _, n, _ := r.missing(w.name, w.n); n > 0 {
							return false
						}
					}
				}
				return true
			}
			for deadline := time.Now().Add(2 * time.Minute); !all() && time.Now().Before(deadline); {
				<-time.After(100 * time.Millisecond)
			}
			for _, w := range writers {
				for name, r := range map[string]*recorder{"a": a, "b": b} {
					runs, n, late := r.missing(w.name, w.n)
					if n > 0 {
						t.Errorf("%s misses %d of %d lines of writer %s: %s", name, n, w.n, w.name, runs)
					}
					if late > 0 {
						t.Logf("%s was given %d lines of writer %s after later ones", name, late, w.name)
						if c.ordered {
							t.Fail()
						}
					}
				}
			}
			if t.Failed() {
				_, positions, _ := lbshipd(t, "inspect", "positions", "--data-dir", data)
				t.Logf("%s", positions)
			}
			d.stop()
		})
	}
}
