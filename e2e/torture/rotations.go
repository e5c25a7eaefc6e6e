package main

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"syscall"
	"time"
)

// rotations is the command "torture rotations": the rotations of the first
// measurements, at their rate, with the ledger's word for what is lost.
func rotations(args []string) error {
	flags := flag.NewFlagSet("rotations", flag.ContinueOnError)
	bin := flags.String("bin", "../bin/lbshipd", "the lbshipd that reads")
	rate := flags.Int("rate", 50000, "lines per second")
	length := flags.Duration("for", 10*time.Second, "how long each kind")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, kind := range []struct {
		name  string
		every time.Duration // between two rotations
		lossy bool          // it destroys what nobody has read
	}{
		{"rename+create", time.Second, false},
		{"rename+create", 50 * time.Millisecond, false},
		{"delete+create", time.Second, false},
		{"copytruncate", time.Second, true},
		{"truncate", time.Second, true},
	} {
		err := guard(func(tb *bed) error {
			return rotated(tb, *bin, kind.name, *rate, int(kind.every.Seconds()*float64(*rate)), *length, kind.lossy)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", kind.name, err)
		}
	}
	return nil
}

func rotated(tb *bed, bin, kind string, rate, every int, length time.Duration, lossy bool) error {
	m := newMeasured(tb, bin)
	loki := startMeterLoki(tb)
	const size = 160
	f := &flood{path: filepath.Join(m.dir, "logs", "app.log"), rate: rate, size: size, every: every, rotate: kind}
	m.run(`
sources:
  - {name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}
targets:
  - {name: loki, loki: {url: "http://%s"}}
`, m.dir+"/logs/*.log", loki.address)
	ctx, cancel := context.WithTimeout(context.Background(), length)
	defer cancel()
	f.run(ctx)
	if f.err != nil {
		return f.err
	}
	total := int(f.written.Load())
	last, same := -1, 0
	await(time.Minute, func() bool {
		time.Sleep(100 * time.Millisecond)
		n := loki.count()
		if n == last {
			same++
		} else {
			last, same = n, 0
		}
		return n == total || same > 20
	})
	missing := loki.missing(total)
	sum := func(what string) int {
		v, _ := sum(m.daemon.metrics(), "lbshipd_ledger_"+what, "app", "loki")
		return int(v)
	}
	var lost, unsized int
	await(10*time.Second, func() bool {
		lost, unsized = sum("lost_bytes"), sum("unsized_gaps")
		return sum("in_flight_records") == 0
	})
	fmt.Printf("%-14s every %6.2f s, %d times at %d lines/s: %d lines, %d lost (%.3f %%), %d twice; destroyed %d bytes, in the ledger %d bytes and %d gaps of unknown size\n",
		kind, float64(every)/float64(rate), f.cut.Load(), rate, total, len(missing), 100*float64(len(missing))/float64(total), loki.again,
		len(missing)*size, lost, unsized)
	if !lossy && len(missing) > 0 {
		m.book.find("lost", "%d lines: %s", len(missing), runs(missing))
	}
	if lossy && lost != len(missing)*size && unsized == 0 {
		m.book.find("ledger", "%d bytes were destroyed, and the ledger has %d", len(missing)*size, lost)
	}
	for _, wrong := range loki.wrong {
		m.book.find("payload", "%s", wrong)
	}
	m.daemon.end(syscall.SIGTERM)
	m.daemon.faulted()
	return m.verdict()
}
