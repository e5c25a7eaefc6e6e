package main

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// fault is one kind of thing that is done to the daemon or to what it reads.
// do ends when the fault is over, and reports whether it really happened.
type fault struct {
	name string
	do   func(s *scene, d *dice) bool
}

// faults are all kinds; each comes once before any comes again.
var faults = []fault{
	{"SIGKILL", func(s *scene, d *dice) bool { return s.kill(d, nil) }},
	{"SIGKILL", func(s *scene, d *dice) bool { return s.kill(d, nil) }},
	{"SIGKILL", func(s *scene, d *dice) bool { return s.kill(d, nil) }},
	{"SIGKILL twice", func(s *scene, d *dice) bool {
		s.kill(d, nil)
		time.Sleep(d.between(0, 700*time.Millisecond))
		return s.kill(d, nil)
	}},
	{"SIGTERM", func(s *scene, d *dice) bool {
		s.daemon.end(syscall.SIGTERM)
		time.Sleep(d.between(0, 500*time.Millisecond))
		s.daemon.start()
		return true
	}},
	{"SIGSTOP", func(s *scene, d *dice) bool {
		s.daemon.pause(d.between(200*time.Millisecond, 3*time.Second))
		return true
	}},
	{"reload storm", reloadStorm},
	{"reload storm", reloadStorm},
	{"broken configuration", brokenConfiguration},
	{"disk full", func(s *scene, d *dice) bool { return s.harm(s.disk.fill(d.between(time.Second, 5*time.Second))) }},
	{"disk full and SIGKILL", func(s *scene, d *dice) bool {
		s.harm(s.disk.fill(d.between(time.Second, 3*time.Second)))
		return s.kill(d, nil)
	}},
	{"read-only", func(s *scene, d *dice) bool { return s.harm(s.disk.seal(d.between(time.Second, 5*time.Second))) }},
	{"damaged positions", damagePositions},
	{"clock jump", clockJump},
	{"damaged journal", damageJournal},
	{"vacuum", vacuum},
	{"journal rotation", func(s *scene, d *dice) bool { s.journal.Rotate(s.tb); return true }},
}

// can reports whether there is what the fault needs.
func (s *scene) can(f fault) bool {
	switch f.name {
	case "disk full", "disk full and SIGKILL", "read-only":
		return s.disk.own
	case "clock jump":
		return s.o.clock
	}
	return true
}

func (s *scene) harm(err error) bool {
	if err != nil {
		s.book.find("rig", "%v", err)
	}
	return err == nil
}

// kill ends the daemon with SIGKILL and starts it a moment later; between is
// done meanwhile.
func (s *scene) kill(d *dice, between func() bool) bool {
	s.daemon.end(syscall.SIGKILL)
	ok := between == nil || between()
	if d.chance(3) {
		time.Sleep(d.between(0, 2*time.Second))
	}
	s.daemon.start()
	return ok
}

// damagePositions harms the newest positions while no daemon runs. One that is
// whole is left: both are never damaged at once.
func damagePositions(s *scene, d *dice) bool {
	// Two saves lie behind us, so that the former generation is whole.
	await(5*time.Second, func() bool { return time.Since(s.daemon.since) > 4*time.Second })
	return s.kill(d, func() bool {
		name := "positions"
		if d.chance(3) {
			name = "times"
		}
		what, err := damage(d, filepath.Join(s.disk.path, name))
		if os.IsNotExist(err) {
			return false
		}
		s.note("  %s %s", name, what)
		return s.harm(err)
	})
}

// reloadStorm writes the configuration many times, each time another one.
func reloadStorm(s *scene, d *dice) bool {
	for range 5 + d.n(20) {
		c := settings{minLevel: "info", revision: d.n(4), console: d.chance(2), disabled: d.chance(4)}
		if d.chance(2) {
			c.minLevel = "warning"
		}
		s.configure(c, d.chance(2))
		if d.chance(3) {
			s.daemon.cmd.Process.Signal(syscall.SIGHUP)
		}
		time.Sleep(d.between(0, 400*time.Millisecond))
	}
	c := s.config
	c.disabled = false
	s.configure(c, false)
	return true
}

func brokenConfiguration(s *scene, d *dice) bool {
	text := s.yaml(s.config)
	if err := os.WriteFile(s.daemon.conf, []byte(text[:d.n(len(text)-100)]+"\n  nonsense: [\n"), 0o600); err != nil {
		return s.harm(err)
	}
	// It must say so, and go on.
	refused := await(10*time.Second, func() bool { return s.daemon.metrics()["lbshipd_config_last_reload_successful"] == 0 })
	if !refused {
		s.book.find("reload", "a broken configuration was not refused")
	}
	s.configure(s.config, false)
	return refused
}

// clockJump moves the daemon's wall clock, and back after a while.
func clockJump(s *scene, d *dice) bool {
	by := d.between(time.Second, 5*time.Minute)
	if d.chance(2) {
		by = -by
	}
	s.note("  clock moved by %v", by.Round(time.Millisecond))
	s.clock.set(by)
	time.Sleep(d.between(500*time.Millisecond, 4*time.Second))
	s.clock.set(0)
	return true
}

// damageJournal harms an archived file of the frail journald.
func damageJournal(s *scene, d *dice) bool {
	s.frail.Rotate(s.tb)
	files := archived(s.frail)
	if len(files) == 0 {
		return false
	}
	file := files[d.n(len(files))]
	if err := s.book.doom([]string{file}); err != nil {
		s.note("  %v", err) // it is damaged already
	}
	what, err := damage(d, file)
	s.note("  %s %s", filepath.Base(file), what)
	return s.harm(err)
}

// vacuum removes archived files of the frail journald.
func vacuum(s *scene, d *dice) bool {
	s.frail.Rotate(s.tb)
	files := archived(s.frail)
	for _, file := range files {
		if err := s.book.doom([]string{file}); err != nil {
			s.note("  %v", err)
		}
	}
	s.frail.Vacuum(s.tb, 1)
	left := len(archived(s.frail))
	s.note("  %d archived files of %d left", left, len(files))
	return left < len(files)
}

// torment does faults, one after the other, until ctx ends.
func (s *scene) torment(ctx context.Context) {
	d := newDice(s.o.seed, "faults")
	var bag []fault
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.between(200*time.Millisecond, 4*time.Second)):
		}
		if len(bag) == 0 {
			for _, f := range faults {
				if !s.can(f) {
					continue
				}
				if s.o.only == "" || strings.Contains(","+s.o.only+",", ","+f.name+",") {
					bag = append(bag, f)
				}
			}
			for i := len(bag) - 1; i > 0; i-- {
				j := d.n(i + 1)
				bag[i], bag[j] = bag[j], bag[i]
			}
		}
		f := bag[0]
		bag = bag[1:]
		s.note("%s", f.name)
		if f.do(s, d) {
			s.count.add(f.name)
		}
		s.note("%s is over", f.name)
	}
}

// changeWeather gives each receiver good and bad days until ctx ends, and a
// good one then.
func (s *scene) changeWeather(ctx context.Context) {
	d := newDice(s.o.seed, "weather")
	receivers := []struct {
		name string
		turn func(weather)
	}{{"loki", s.loki.turn}, {"siem", s.siem.turn}, {"relp", s.relp.turn}}
	defer func() {
		for _, r := range receivers {
			r.turn(fine)
		}
	}()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(d.between(200*time.Millisecond, 3*time.Second)):
		}
		r := receivers[d.n(len(receivers))]
		w := []weather{fine, fine, shaky, shaky, storm, gone}[d.n(6)]
		s.note("%s is %s", r.name, w.name)
		r.turn(w)
	}
}

// minimum is how often a fault must have happened in a run of that length, for
// it to say something.
func minimum(run time.Duration) int { return max(1, int(run/(3*time.Minute))) }

// mayLack is how many of so many kinds of faults may have happened too rarely: what
// comes when is up to the machine, and a slow one plays less of the same schedule.
func mayLack(run time.Duration, kinds int) int {
	if run < 3*time.Minute {
		return kinds / 3
	}
	return kinds / 20
}

// vacuous finds faults that happened too rarely.
func (s *scene) vacuous() {
	want := map[string]bool{}
	for _, f := range faults {
		want[f.name] = s.can(f)
	}
	for _, f := range lokiFaults {
		want["loki "+f] = true
	}
	for _, f := range syslogFaults {
		want["siem "+f] = true
	}
	for _, f := range relpFaults {
		want["relp "+f] = true
	}
	for _, k := range fileKinds {
		for _, way := range k.ways {
			want["rotation "+way] = true
		}
	}
	for _, name := range []string{"loki gone", "siem gone", "relp gone", "loki 400"} {
		want[name] = true
	}
	var rare []string
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if want[name] && s.count.of(name) < minimum(s.o.length) {
			rare = append(rare, name)
		}
	}
	if len(rare) <= mayLack(s.o.length, len(want)) {
		s.note("too rare to say anything: %q", rare)
		return
	}
	for _, name := range rare {
		s.book.find("vacuous", "%q happened %d times, want at least %d", name, s.count.of(name), minimum(s.o.length))
	}
}
