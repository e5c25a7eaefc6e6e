package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// measured is what the commands that measure have in common: a folder, a
// daemon with a plain data directory, and what was found wrong.
type measured struct {
	tb     *bed
	dir    string
	book   *book
	daemon *daemon
}

func newMeasured(tb *bed, bin string) *measured {
	dir, err := os.MkdirTemp("", "lbshipd-measured-")
	if err != nil {
		tb.Fatalf("%v", err)
	}
	m := &measured{tb: tb, dir: dir, book: newBook()}
	for _, name := range []string{"logs", "data"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			tb.Fatalf("%v", err)
		}
	}
	m.daemon = &daemon{bin: bin, conf: filepath.Join(dir, "lbshipd.yaml"), data: filepath.Join(dir, "data"), logs: dir, book: m.book, count: newCounts()}
	tb.Cleanup(func() {
		if m.daemon.cmd != nil && !m.daemon.ended() {
			m.daemon.end(syscall.SIGKILL)
		}
		if len(m.book.found) == 0 {
			os.RemoveAll(dir)
		} else {
			fmt.Println("logs and configuration are in", dir)
		}
	})
	return m
}

// run starts the daemon with a configuration.
func (m *measured) run(format string, args ...any) {
	if err := os.WriteFile(m.daemon.conf, fmt.Appendf(nil, format, args...), 0o600); err != nil {
		m.tb.Fatalf("%v", err)
	}
	m.daemon.start()
}

// verdict prints what was found and returns the error of the command.
func (m *measured) verdict() error {
	for _, f := range m.book.found {
		fmt.Printf("  %s: %s\n", f.kind, f.text)
	}
	if len(m.book.found) > 0 {
		return errors.New("failed")
	}
	return nil
}

// guard turns a rig's panic into an error, and cleans up.
func guard(f func(tb *bed) error) (err error) {
	tb := &bed{}
	defer tb.clean()
	defer func() {
		if p := recover(); p != nil {
			b, ok := p.(broken)
			if !ok {
				panic(p)
			}
			err = errors.New(b.text)
		}
	}()
	return f(tb)
}

// outage is the command "torture outage": one of two targets is away for a
// while at a steady rate of lines.
func outage(args []string) error {
	flags := flag.NewFlagSet("outage", flag.ContinueOnError)
	bin := flags.String("bin", "../bin/lbshipd", "the lbshipd that is measured")
	length := flags.Duration("for", 10*time.Minute, "how long Loki is away")
	before := flags.Duration("before", time.Minute, "how long it is measured before")
	rate := flags.Int("rate", 20000, "lines per second")
	size := flags.Int("size", 160, "bytes per line")
	every := flags.Int("rotate", 1_000_000, "lines between two rotations")
	judge := flags.Bool("judge", true, "fail if the figures are not those promised; else only if lines are lost")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return guard(func(tb *bed) error {
		m := newMeasured(tb, *bin)
		ca := testbed.NewCA(tb, "outage")
		loki := startMeterLoki(tb)
		siem := startMeterSyslog(tb, serverTLS(tb, ca))
		f := &flood{path: filepath.Join(m.dir, "logs", "app.log"), rate: *rate, size: *size, every: *every}
		m.run(`
sources:
  - {name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}
targets:
  - {name: loki, loki: {url: "http://%s"}}
  - {name: siem, rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem}}
tlsBundles:
  - {name: siem, caFile: %q}
`, m.dir+"/logs/*.log", loki.address, siem.address, ca.File(tb, m.dir, "ca"))
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan struct{})
		go func() { defer close(done); f.run(ctx) }()
		time.Sleep(2 * time.Second)
		siem.percentiles(0.5)
		time.Sleep(*before)
		calm := siem.percentiles(0.5, 0.99)
		peakBefore, _ := m.daemon.usage()
		fmt.Printf("before:  %d lines/s of %d bytes to Loki and to syslog over TLS; syslog's delay: median %v, 99%% %v; peak memory %.1f MiB\n",
			*rate, *size, calm[0].Round(time.Millisecond/10), calm[1].Round(time.Millisecond/10), float64(peakBefore.peakKiB)/1024)

		// A third of the time nobody listens, a third it answers 500, a third it hangs.
		behind := -loki.count()
		for _, mode := range []string{"refuses", "fails", "hangs"} {
			loki.turn(tb, mode)
			time.Sleep(*length / 3)
		}
		away := siem.percentiles(0.5, 0.99)
		use, _ := m.daemon.usage()
		behind += int(f.written.Load())
		fmt.Printf("outage:  Loki away for %v; syslog's delay: median %v, 99%% %v; peak memory %.1f MiB; backlog %d lines (%d MiB, in the files)\n",
			*length, away[0].Round(time.Millisecond/10), away[1].Round(time.Millisecond/10), float64(use.peakKiB)/1024, behind, behind**size>>20)

		loki.turn(tb, "")
		from, had := time.Now(), loki.count()
		caught := await(30*time.Minute, func() bool { return int(f.written.Load())-loki.count() < *rate })
		took := time.Since(from)
		caughtUp := float64(loki.count()-had) / took.Seconds()
		during := siem.percentiles(0.5, 0.99)
		use, _ = m.daemon.usage()
		fmt.Printf("after:   caught up in %.1f s at %.0f lines/s (%.1f times the live rate); syslog's delay meanwhile: median %v, 99%% %v; peak memory %.1f MiB\n",
			took.Seconds(), caughtUp, caughtUp/float64(*rate), during[0].Round(time.Millisecond/10), during[1].Round(time.Millisecond/10), float64(use.peakKiB)/1024)
		if !caught {
			m.book.find("liveness", "Loki did not catch up within half an hour")
		}
		cancel()
		<-done
		if f.err != nil {
			return f.err
		}
		m.arrived(map[string]*meter{"loki": &loki.meter, "siem": &siem.meter}, int(f.written.Load()))
		if *judge {
			m.promised("the healthy target's 99th percentile at most doubles", away[1] <= 2*calm[1])
			m.promised("peak memory below 64 MiB", use.peakKiB < 64<<10)
			m.promised("caught up at 5 times the live rate or more", caughtUp >= 5*float64(*rate))
		}
		m.daemon.end(syscall.SIGTERM)
		m.daemon.faulted()
		return m.verdict()
	})
}

// arrived waits until all lines are at all targets, and says what is missing.
func (m *measured) arrived(at map[string]*meter, total int) {
	await(2*time.Minute, func() bool {
		for _, r := range at {
			if r.count() < total {
				return false
			}
		}
		return true
	})
	for name, r := range at {
		missing := r.missing(total)
		fmt.Printf("in all:  %s has %d of %d lines, %d lost, %d came more than once\n", name, r.count(), total, len(missing), r.again)
		if len(missing) > 0 {
			m.book.find("lost", "%s lacks %d lines: %s", name, len(missing), runs(missing))
		}
		for _, wrong := range r.wrong {
			m.book.find("payload", "%s has %s", name, wrong)
		}
	}
}

func (m *measured) promised(what string, holds bool) {
	if !holds {
		m.book.find("promise", "it does not hold that %s", what)
	}
}
