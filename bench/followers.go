package main

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/nxadm/tail"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sources"
	"github.com/lbshipd/lbshipd/sources/file"
)

// startOurs follows with lbshipd's own follower.
func startOurs(path string, t *tally) (func(), error) {
	src, err := file.New(&config.Source{
		Name: "bench", StartAt: "beginning", File: &config.FileSource{Paths: []string{path}},
	}, sources.Deps{FirstRun: true, Location: time.UTC, Skipped: func(string, int) {}})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	done.Go(func() {
		src.Run(ctx, func(in sources.Input) {
			done.Go(func() { readInput(ctx, in, t) })
		})
	})
	return func() { cancel(); done.Wait() }, nil
}

func readInput(ctx context.Context, in sources.Input, t *tally) {
	rd, err := in.Open(in.Start())
	if err != nil {
		return
	}
	defer rd.Close()
	for rd.Wait(ctx) == nil {
		b := record.NewBatch()
		err := rd.Read(b)
		for i := range b.Records {
			t.add(string(b.Records[i].Line))
		}
		b.Release()
		if err == io.EOF {
			return
		}
	}
}

// startTail follows with nxadm/tail as its users do.
func startTail(path string, t *tally, poll bool) (func(), error) {
	follow, err := tail.TailFile(path, tail.Config{Follow: true, ReOpen: true, Poll: poll, Logger: tail.DiscardingLogger})
	if err != nil {
		return nil, err
	}
	go func() {
		for line := range follow.Lines {
			t.add(line.Text)
		}
	}()
	return func() { follow.Stop() }, nil
}
