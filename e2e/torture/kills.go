package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// kills is the command "torture kills": SIGKILLs at random moments, with a
// real Loki and a real rsyslog over mutual TLS.
func kills(args []string) error {
	flags := flag.NewFlagSet("kills", flag.ContinueOnError)
	bin := flags.String("bin", "../bin/lbshipd", "the lbshipd that is killed")
	times := flags.Int("n", 100, "how often")
	rate := flags.Int("rate", 2000, "lines per second")
	seed := flags.Uint64("seed", 1, "seed of the moments")
	if err := flags.Parse(args); err != nil {
		return err
	}
	return guard(func(tb *bed) error {
		m := newMeasured(tb, *bin)
		loki := testbed.StartLoki(tb, testbed.LokiOptions{})
		ca := testbed.NewCA(tb, "kills")
		siem := testbed.StartRsyslog(tb, testbed.RsyslogOptions{Protocol: "gtls", CA: ca, Cert: ca.Server(tb, "siem.test"), PermittedPeers: []string{"node.test"}})
		cert, key := ca.Client(tb, "node.test").Files(tb, m.dir, "node")
		const size = 160
		f := &flood{path: filepath.Join(m.dir, "logs", "app.log"), rate: *rate, size: size, every: 3 * *rate}
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		done := make(chan struct{})
		go func() { defer close(done); f.run(ctx) }()
		text := fmt.Sprintf(`
sources:
  - {name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}
targets:
  - {name: loki, loki: {url: %q}}
  - {name: siem, rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem}}
tlsBundles:
  - {name: siem, caFile: %q, certFile: %q, keyFile: %q}
`, m.dir+"/logs/*.log", loki.URL, siem.Address, ca.File(tb, m.dir, "ca"), cert, key)
		dice := rand.New(rand.NewPCG(*seed, 0))
		unconfirmed := 0
		for range *times {
			m.run("%s", text)
			time.Sleep(time.Duration(dice.IntN(900)) * time.Millisecond)
			m.daemon.end(syscall.SIGKILL)
			n, err := m.unanswered(f, siem, "siem", size)
			if err != nil {
				return err
			}
			unconfirmed += n
		}
		m.run("%s", text)
		time.Sleep(time.Second)
		cancel()
		<-done
		if f.err != nil {
			return f.err
		}
		total := int(f.written.Load())
		var atLoki, atSiem *meter
		await(3*time.Minute, func() bool {
			if delivered(m.daemon, "loki") < 1 || siem.Count(tb) < total {
				return false
			}
			if atSiem = metered(tb, siem); atSiem.unique < total {
				return false
			}
			atLoki = &meter{}
			for _, e := range loki.Query(tb, testbed.LokiQuery{Query: `{source="app"}`}) {
				atLoki.add([]byte(e.Line), e.Time, time.Now())
			}
			return atLoki.unique == total
		})
		if atLoki == nil || atSiem == nil {
			return errors.New("not everything arrived within three minutes")
		}
		m.arrived(map[string]*meter{"loki": atLoki, "siem": atSiem}, total)
		fmt.Printf("%d SIGKILLs, %d rotations, %d lines: Loki has %d twice; rsyslog %d, of %d that it had and that were not stored as confirmed at a kill\n",
			*times, f.cut.Load(), total, atLoki.again, atSiem.again, unconfirmed)
		m.promised("Loki has no line twice", atLoki.again == 0)
		m.promised("rsyslog has at most those twice that were not confirmed", atSiem.again <= unconfirmed)
		m.daemon.end(syscall.SIGTERM)
		m.daemon.faulted()
		return m.verdict()
	})
}

func delivered(d *daemon, target string) int {
	return int(d.metrics()[`lbshipd_target_delivered_records_total{target="`+target+`"}`])
}

// metered counts what a real rsyslog has written.
func metered(tb *bed, r *testbed.Rsyslog) *meter {
	m := &meter{}
	for _, e := range r.Messages(tb) {
		m.add([]byte(e.Msg), 0, time.Now())
	}
	return m
}

// unanswered counts the lines that rsyslog has beyond those that the stored
// positions say it has: those may come again.
func (m *measured) unanswered(f *flood, r *testbed.Rsyslog, target string, size int) (int, error) {
	time.Sleep(100 * time.Millisecond) // what is in rsyslog's sockets
	newest := -1
	messages := r.Messages(m.tb)
	for i := len(messages) - 1; i >= 0 && newest < 0; i-- {
		if n, _, ok := numberOf([]byte(messages[i].Msg)); ok {
			newest = n
		}
	}
	return m.notStored(f, target, size, newest+1)
}

// notStored counts the lines before end that the positions file does not have
// as answered by a target. A file that it does not know is either newer than those
// that it does, or was forgotten because it is answered to its end.
func (m *measured) notStored(f *flood, target string, size, end int) (int, error) {
	out, err := exec.Command(m.daemon.bin, "inspect", "positions", "--data-dir", m.daemon.data).Output()
	if err != nil {
		return 0, fmt.Errorf("inspecting the positions: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	answered, newest := map[int]int{}, -1 // lines, by the first of the file
	for line := range bytes.Lines(out) {
		words := strings.Fields(string(line))
		if !contains(words, target) {
			continue
		}
		for _, w := range words {
			_, rest, ok := strings.Cut(w, ":") // major.minor:inode:b...
			ino, _, marked := strings.Cut(rest, ":b")
			inode, err := strconv.ParseUint(ino, 10, 64)
			if !ok || !marked || err != nil {
				continue
			}
			if first, known := f.first[inode]; known {
				answered[first] = offsetIn(words) / size
				newest = max(newest, first)
			}
		}
	}
	firsts, open := slices.Sorted(maps.Values(f.first)), 0
	for i, first := range firsts {
		last := end
		if i+1 < len(firsts) {
			last = min(end, firsts[i+1])
		}
		if n, known := answered[first]; known || first > newest {
			open += max(0, last-first-n)
		}
	}
	return open, nil
}

// offsetIn finds the position of a file among words: "1:OFFSET:...".
func offsetIn(words []string) int {
	for _, w := range words {
		if rest, ok := strings.CutPrefix(w, "1:"); ok {
			text, _, _ := strings.Cut(rest, ":")
			if n, err := strconv.Atoi(text); err == nil {
				return n
			}
		}
	}
	return 0
}

func contains(words []string, word string) bool {
	for _, w := range words {
		if w == word {
			return true
		}
	}
	return false
}
