package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// scene is everything of one run: the writers, the daemon, the receivers.
type scene struct {
	tb      *bed
	o       options
	book    *book
	count   *counts
	daemon  *daemon
	loki    *lokiFake
	siem    *syslogFake
	relp    *syslogFake
	journal *testbed.Journald // nobody harms its files
	frail   *testbed.Journald // its archived files are vacuumed and damaged
	files   []*fileWriter
	units   []*journalWriter
	disk    *disk
	clock   *clock
	bundle  string
	config  settings
	began   time.Time
	diary   *os.File
	diaryMu sync.Mutex
	peak    usage          // the most that was seen of each
	thrown  map[string]int // by source and target: records that a reset threw away
}

// settings are what reloads change in the configuration.
type settings struct {
	minLevel string // of the source json
	revision int    // a label of the source logfmt
	disabled bool   // the source json
	console  bool   // a fourth target
}

var calm = settings{minLevel: "info"}

// newScene builds all but starts nothing.
func newScene(tb *bed, o options) *scene {
	s := &scene{tb: tb, o: o, book: newBook("loki", "siem", "relp"), count: newCounts(), config: calm, began: time.Now(), thrown: map[string]int{}}
	diary, err := os.Create(filepath.Join(o.dir, "schedule.log"))
	if err != nil {
		tb.Fatalf("%v", err)
	}
	s.diary = diary
	ca := testbed.NewCA(tb, "torture")
	bundles := s.mkdir("tls")
	cert, key := ca.Client(tb, "node.test").Files(tb, bundles, "node")
	s.bundle = fmt.Sprintf("{name: siem, caFile: %s, certFile: %s, keyFile: %s}", ca.File(tb, bundles, "ca"), cert, key)
	s.loki = startLokiFake(tb, s.book, s.count, newDice(o.seed, "loki"), lokiMaxLine)
	s.siem = startSyslogFake(tb, "siem", serverTLS(tb, ca), false, s.book, s.count, newDice(o.seed, "siem"))
	s.relp = startSyslogFake(tb, "relp", nil, true, s.book, s.count, newDice(o.seed, "relp"))
	s.disk = &disk{path: s.mkdir("data")}
	if o.faults {
		s.disk = newDisk(tb, s.disk.path)
	}
	s.clock = newClock(tb, filepath.Join(o.dir, "clock"))
	s.daemon = &daemon{bin: o.bin, conf: filepath.Join(o.dir, "lbshipd.yaml"), data: s.disk.path, logs: o.dir, clock: s.clock.path, book: s.book, count: s.count}
	s.book.restarted, s.book.resets, s.book.blind = s.daemon.diedSince, s.siemEnds, s.daemon.withoutInotify
	s.writers()
	return s
}

func serverTLS(tb *bed, ca *testbed.CA) *tls.Config {
	return &tls.Config{Certificates: []tls.Certificate{ca.Server(tb, "siem.test").TLS(tb)}}
}

func (s *scene) mkdir(name string) string {
	path := filepath.Join(s.o.dir, name)
	if err := os.MkdirAll(path, 0o755); err != nil {
		s.tb.Fatalf("%v", err)
	}
	return path
}

// fileKinds are the files that are written, each by a writer and for a source of its name.
var fileKinds = []struct {
	name, format string
	ways         []string
	perTick      int
	varies       bool
}{
	{"json", "json", []string{"rename+create", "quick chain"}, 6, true},
	{"raw", "raw", []string{"rename+create", "shift", "quick chain"}, 6, false},
	{"logfmt", "logfmt", []string{"delete+create", "rename+create"}, 5, false},
	{"cri", "cri", []string{"rename+create", "shift"}, 4, false},
	{"cut", "json", []string{"copytruncate", "truncate"}, 3, false},
	{"packed", "json", []string{"compress", "rename+create"}, 3, false},
}

func (s *scene) writers() {
	for _, k := range fileKinds {
		if s.o.small && k.name != "json" && k.name != "raw" {
			continue
		}
		w := &fileWriter{l: s.book.open(k.name, k.name), book: s.book, count: s.count, dice: newDice(s.o.seed, k.name), format: k.format, ways: k.ways,
			perTick: k.perTick, varies: k.varies, path: filepath.Join(s.mkdir("logs/"+k.name), "app.log")}
		w.l.copied = k.name == "cut"
		s.files = append(s.files, w)
	}
	if s.o.small {
		return
	}
	s.journal = testbed.StartJournald(s.tb, "SystemMaxFileSize=8M", "SystemMaxUse=4G", "SystemKeepFree=1M", "SystemMaxFiles=10000")
	s.frail = testbed.StartJournald(s.tb, "SystemMaxFileSize=1M", "SystemMaxUse=4G", "SystemKeepFree=1M", "SystemMaxFiles=10000")
	for _, name := range []string{"alpha", "beta"} {
		unit := fmt.Sprintf("%s-%d.service", name, os.Getpid())
		s.units = append(s.units, &journalWriter{l: s.book.open(name, "units"), book: s.book, dice: newDice(s.o.seed, name), perTick: 3,
			unit: s.journal.Stdout(s.tb, name, unit, 5)})
	}
	s.units = append(s.units, &journalWriter{l: s.book.open("native", "native"), book: s.book, dice: newDice(s.o.seed, "native"), perTick: 3,
		native: s.journal.Native(s.tb)})
	frail := &journalWriter{l: s.book.open("frail", "frail"), book: s.book, dice: newDice(s.o.seed, "frail"), perTick: 3, native: s.frail.Native(s.tb)}
	frail.l.unsafe = true
	s.units = append(s.units, frail)
}

// write runs all writers until ctx ends.
func (s *scene) write(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range s.files {
		all.Go(func() { w.run(ctx) })
	}
	for _, w := range s.units {
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
	if s.journal != nil {
		s.journal.Sync(s.tb)
		s.frail.Sync(s.tb)
	}
}

// yaml is the configuration with c.
func (s *scene) yaml(c settings) string {
	var b strings.Builder
	if s.o.spoil == "filter" {
		c.minLevel = "debug"
	}
	b.WriteString("sources:\n")
	for _, w := range s.files {
		fmt.Fprintf(&b, "  - name: %s\n    file: {paths: [%q]", w.l.name, w.glob())
		if w.l.name == "json" {
			fmt.Fprintf(&b, ", maxLineBytes: %d}\n    enabled: %v\n    minLevel: %s\n", jsonMaxLine, !c.disabled, c.minLevel)
		} else {
			b.WriteString("}\n    minLevel: info\n")
		}
		if w.l.name == "logfmt" {
			fmt.Fprintf(&b, "    labels: {revision: \"%d\"}\n", c.revision)
		}
		fmt.Fprintf(&b, "    logFormat: %s\n    startAt: beginning\n", w.format)
	}
	if s.journal != nil {
		fmt.Fprintf(&b, "  - {name: units, journald: {directory: %q, units: [\"alpha-%d\", \"beta-*\"]}, minLevel: notice, startAt: beginning}\n", s.journal.Dir, os.Getpid())
		fmt.Fprintf(&b, "  - {name: native, journald: {directory: %q, identifiers: [torture]}, minLevel: notice, startAt: beginning}\n", s.journal.Dir)
		fmt.Fprintf(&b, "  - {name: frail, journald: {directory: %q, identifiers: [torture]}, minLevel: notice, startAt: beginning}\n", s.frail.Dir)
	}
	fmt.Fprintf(&b, `targets:
  - name: loki
    loki: {url: "http://%s", timeout: 2s}
    queueBytes: 2MiB
  - name: siem
    rsyslog: {address: %q, serverName: siem.test, tlsBundle: siem, maxMessageBytes: %d, timeout: 3s}
    queueBytes: 2MiB
  - name: relp
    rsyslog: {address: %q, protocol: relp, maxMessageBytes: %d, timeout: 3s}
    queueBytes: 2MiB
`, s.loki.address, s.siem.address, siemMaxBytes, s.relp.address, siemMaxBytes)
	if c.console {
		b.WriteString("  - {name: console, stdout: {format: json}}\n")
	}
	fmt.Fprintf(&b, "tlsBundles:\n  - %s\n", s.bundle)
	return b.String()
}

// siemEnds returns when connections to siem ended and its kernel may have thrown
// something away: it does so too when the other side is killed with answers unread.
func (s *scene) siemEnds() []int64 { return append(s.siem.ended(), s.daemon.diedAt()...) }

// configure puts the file of the configuration in place, by rename or in place.
func (s *scene) configure(c settings, inPlace bool) {
	s.config = c
	path := s.daemon.conf
	if !inPlace {
		path += ".new"
	}
	err := os.WriteFile(path, []byte(s.yaml(c)), 0o600)
	if err == nil && !inPlace {
		err = os.Rename(path, s.daemon.conf)
	}
	if err != nil {
		s.book.find("rig", "writing the configuration: %v", err)
	}
}

// note writes what happens into the diary, with the time since the beginning.
func (s *scene) note(format string, args ...any) {
	line := fmt.Sprintf("%9.3f ", time.Since(s.began).Seconds()) + fmt.Sprintf(format, args...)
	s.diaryMu.Lock()
	defer s.diaryMu.Unlock()
	fmt.Fprintln(s.diary, line)
	if s.o.verbose {
		fmt.Println(line)
	}
}
