// Program fleet measures what many nodes do to one etcd, and how fast a change is
// on all of them: docs/scale.md has what it printed.
//
//	go run ./fleet -nodes 1000 -for 60s
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"time"
)

// options of a run.
type options struct {
	nodes   int
	length  time.Duration // of the time at rest
	objects int           // sources and targets, half of each
	changes int
	outages []time.Duration // how long etcd is away
	fsync   bool
	limit   time.Duration // within which all nodes must have a change
	pause   time.Duration // between two changes
	out     io.Writer
}

func main() {
	o := options{out: os.Stdout, limit: 2 * time.Minute, outages: []time.Duration{3 * time.Second, time.Minute}}
	flag.IntVar(&o.nodes, "nodes", 1000, "how many nodes there are")
	flag.DurationVar(&o.length, "for", time.Minute, "how long they are measured at rest")
	flag.IntVar(&o.objects, "objects", 20, "how many sources and targets etcd holds")
	flag.IntVar(&o.changes, "changes", 30, "how many changes are made")
	flag.BoolVar(&o.fsync, "fsync", true, "whether etcd syncs its log to the disk, as it does in earnest")
	flag.DurationVar(&o.pause, "pause", 2*time.Second, "how long it waits between two changes")
	profile := flag.String("profile", "", "where a profile of this process is written to")
	quick := flag.Bool("quick", false, "no outages")
	flag.Parse()
	if *quick {
		o.outages = nil
	}
	err := profiled(*profile, func() error { return run(o) })
	if err != nil {
		fmt.Fprintln(os.Stderr, "fleet:", err)
		os.Exit(1)
	}
}

// profiled does it, and writes a profile if there is a path for it.
func profiled(path string, do func() error) error {
	if path == "" {
		return do()
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := pprof.StartCPUProfile(f); err != nil {
		return err
	}
	defer pprof.StopCPUProfile()
	return do()
}

// run measures all of it and prints what it finds.
func run(o options) (err error) {
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
	f, err := newFleet(tb, o)
	if err != nil {
		return err
	}
	defer f.end()
	if err := f.start(); err != nil {
		return err
	}
	if err := f.rest(); err != nil {
		return err
	}
	if err := f.change(); err != nil {
		return err
	}
	for _, away := range o.outages {
		if err := f.outage(away); err != nil {
			return err
		}
	}
	return f.growth()
}
