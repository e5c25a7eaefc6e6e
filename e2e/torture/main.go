// Torture runs lbshipd among writers, receivers and faults of every kind, and
// holds what arrived against what was written: see docs/reliability.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// options are the flags of a run.
type options struct {
	bin     string
	seed    uint64
	length  time.Duration
	dir     string
	clock   bool // the binary obeys our clock
	race    bool // it was built with the race detector, and may take more memory
	faults  bool
	small   bool // two files only
	verbose bool
	keep    bool
	only    string // names of faults, with commas; "": all
	weather bool
	spoil   string // what the fake Loki does wrong on purpose
}

func main() {
	if len(os.Args) > 1 && !strings.HasPrefix(os.Args[1], "-") {
		os.Exit(command(os.Args[1], os.Args[2:]))
	}
	o := options{}
	flag.StringVar(&o.bin, "bin", "../bin/lbshipd", "the lbshipd under torture")
	flag.Uint64Var(&o.seed, "seed", 0, "seed of all random numbers; 0: one from the clock")
	flag.DurationVar(&o.length, "for", 3*time.Minute, "how long faults happen")
	flag.BoolVar(&o.clock, "clock", false, "the binary was built by torture build-clock: let its clock jump")
	flag.BoolVar(&o.race, "race", false, "the binary was built with the race detector: allow it more memory")
	flag.BoolVar(&o.faults, "faults", true, "do harm; else only write and rotate")
	flag.StringVar(&o.only, "only", "", "only these faults (names with commas between), to find out which one it was")
	flag.BoolVar(&o.weather, "weather", true, "let the receivers fail")
	flag.BoolVar(&o.verbose, "v", false, "print the schedule while it runs")
	flag.BoolVar(&o.keep, "keep", false, "keep the artefacts of a good run too")
	flag.StringVar(&o.dir, "dir", "", "where the artefacts go (default: a new folder in the temporary directory)")
	flag.Parse()
	if o.seed == 0 {
		o.seed = uint64(time.Now().UnixNano()) % 1_000_000
	}
	os.Exit(play(o))
}

// play does one run and returns the exit code.
func play(o options) int {
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "lbshipd-torture-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		o.dir = dir
	}
	replay := fmt.Sprintf("make torture SEED=%d FOR=%v", o.seed, o.length)
	fmt.Printf("torture: seed %d for %v; the same again: %s\n", o.seed, o.length, replay)
	found := run(o)
	if len(found) == 0 {
		fmt.Println("torture: every property held")
		if !o.keep {
			os.RemoveAll(o.dir)
		}
		return 0
	}
	report(o, found)
	fmt.Printf("torture: FAILED with seed %d; the same again: %s; logs and findings are in %s\n", o.seed, replay, o.dir)
	return 1
}

// report prints the findings, a few of each kind, and writes all into findings.txt.
func report(o options, found []finding) {
	var all strings.Builder
	shown := map[string]int{}
	for _, f := range found {
		fmt.Fprintf(&all, "%s: %s\n", f.kind, f.text)
		if shown[f.kind]++; shown[f.kind] <= 10 {
			fmt.Printf("  %s: %s\n", f.kind, f.text)
		}
	}
	for _, kind := range slices.Sorted(maps.Keys(shown)) {
		fmt.Printf("  %d findings of the kind %s\n", shown[kind], kind)
	}
	if err := os.WriteFile(filepath.Join(o.dir, "findings.txt"), []byte(all.String()), 0o644); err != nil {
		fmt.Println(err)
	}
}

// run plays everything and returns what was found.
func run(o options) (found []finding) {
	tb := &bed{}
	defer tb.clean()
	defer func() {
		if p := recover(); p != nil {
			b, ok := p.(broken)
			if !ok {
				panic(p)
			}
			found = append(found, finding{"rig", b.text})
		}
	}()
	s := newScene(tb, o)
	s.loki.breaker.what = o.spoil
	s.configure(calm, false)
	s.daemon.start()
	tb.Cleanup(func() {
		if !s.daemon.ended() {
			s.daemon.end(syscall.SIGKILL)
		}
	})
	s.unrest()
	s.quiet()
	return s.book.found
}

// unrest is the time of writing and of faults.
func (s *scene) unrest() {
	ctx, cancel := context.WithTimeout(context.Background(), s.o.length)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { s.write(ctx) })
	all.Go(func() { s.watch(ctx) })
	if s.o.faults {
		all.Go(func() { s.torment(ctx) })
	}
	if s.o.weather {
		all.Go(func() { s.changeWeather(ctx) })
	}
	all.Wait()
}

// Liveness: when all is well again, everything is delivered within this time. Where
// nothing else runs it takes 20 s; the machine may have much else to do.
const drainWithin = 5 * time.Minute

// quiet waits until everything has arrived, and checks all properties.
func (s *scene) quiet() {
	s.configure(calm, false)
	s.note("the faults are over")
	from := time.Now()
	// What is excused stays owed: then the wait ends when nothing comes any more, and
	// the daemon says that there is nothing.
	var last, same int
	done := await(drainWithin, func() bool {
		owed := s.book.owed()
		if owed == last {
			same++
		} else {
			last, same = owed, 0
		}
		time.Sleep(100 * time.Millisecond)
		if same > 80 {
			same = 60
			return drainedBy(s.daemon.metrics())
		}
		return owed == 0
	})
	drained := time.Since(from)
	if !done {
		s.book.find("liveness", "not all is drained within %v", drainWithin)
	}
	s.note("drained in %v, %d are owed", drained.Round(time.Millisecond), s.book.owed())
	excused, truncated := s.settle()
	if len(s.book.found) > 0 {
		s.keepState()
	}
	var m map[string]float64
	await(30*time.Second, func() bool { m = s.daemon.metrics(); return drainedBy(m) })
	if s.o.spoil == "ledger" {
		for series := range m {
			if strings.HasPrefix(series, "lbshipd_ledger_delivered_records") {
				m[series]++
				break
			}
		}
	}
	s.audit(m, truncated)
	s.repeats()
	s.bounded(m)
	for what, n := range excused {
		s.note("excused at %s: %d records", what, n)
	}
	for _, sample := range s.book.samples {
		s.note("excused %s", sample)
	}
	s.daemon.end(syscall.SIGTERM)
	s.daemon.faulted()
	fmt.Println(s.summary())
	if s.o.faults && s.o.weather && s.o.only == "" {
		s.vacuous()
	}
	fmt.Printf("torture: %d records written, drained in %.1f s, excused %v, out of order %v, %d gap records, peak memory %d MiB, at most %d descriptors and %d threads\n",
		s.book.total(), drained.Seconds(), excused, s.book.beside, s.book.gaps["loki"], s.peak.rssKiB>>10, s.peak.files, s.peak.threads)
}

// drainedBy reports whether the daemon has nothing that is unanswered, and no target
// that is behind.
func drainedBy(m map[string]float64) bool {
	for series, v := range m {
		waits := strings.HasPrefix(series, "lbshipd_ledger_in_flight_records") || strings.HasPrefix(series, "lbshipd_target_behind_inputs")
		if waits && v != 0 {
			return false
		}
	}
	return len(m) > 0
}

// keepState leaves what the daemon knows with the artefacts, and what becomes
// of what is missing if it is given more time.
func (s *scene) keepState() {
	for _, path := range []string{"/metrics", "/status", "/-/healthy"} {
		_, text := s.daemon.get(path)
		os.WriteFile(filepath.Join(s.o.dir, "final"+strings.ReplaceAll(path, "/", "_")), []byte(text), 0o644)
	}
	out, _ := exec.Command(s.o.bin, "inspect", "positions", "--data-dir", s.disk.path).CombinedOutput()
	os.WriteFile(filepath.Join(s.o.dir, "final_positions"), out, 0o644)
	owed := s.book.owed()
	time.Sleep(15 * time.Second)
	s.note("%d were owed, and 15 s later %d", owed, s.book.owed())
}

// watch samples what the daemon holds.
func (s *scene) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if u, ok := s.daemon.usage(); ok {
			s.peak.rssKiB, s.peak.threads, s.peak.files = max(s.peak.rssKiB, u.peakKiB), max(s.peak.threads, u.threads), max(s.peak.files, u.files)
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// bounded checks what the daemon held at most.
func (s *scene) bounded(m map[string]float64) {
	memory := 160 << 10
	if s.o.race {
		memory = 900 << 10
	}
	if s.peak.rssKiB > memory {
		s.book.find("bounds", "lbshipd held %d MiB, %d are allowed", s.peak.rssKiB>>10, memory>>10)
	}
	if s.peak.files > 1500 || s.peak.threads > 64 {
		s.book.find("bounds", "lbshipd had %d files open and %d threads", s.peak.files, s.peak.threads)
	}
	if n := m["go_goroutines"]; n > 1500 {
		s.book.find("bounds", "lbshipd has %v goroutines when all is quiet", n)
	}
}

func (b *book) total() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.writers {
		n += len(l.records)
	}
	return n
}

// summary is one line with everything that really happened.
func (s *scene) summary() string {
	all := s.count.all()
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, all[name]))
	}
	return "torture: faults that happened: " + strings.Join(parts, ", ")
}

// command runs one of the other commands.
func command(name string, args []string) int {
	var err error
	switch name {
	case "outage":
		err = outage(args)
	case "receiver":
		err = receiver(args)
	case "rotations":
		err = rotations(args)
	case "kills":
		err = kills(args)
	case "build-clock":
		err = buildClock(args)
	default:
		fmt.Fprintf(os.Stderr, "torture: no command %q\n", name)
		return 2
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture "+name+":", err)
		return 1
	}
	return 0
}
