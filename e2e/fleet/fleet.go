package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/config/etcdstore"
	"github.com/lbshipd/lbshipd/internal/testbed"
)

const prefix = "/lbshipd"

// fleet is one etcd and its nodes.
type fleet struct {
	o      options
	etcd   *testbed.Etcd
	store  etcdstore.Options
	writer *etcdstore.Store // writes as the API does
	board  board
	dir    string
	waves  int
	stop   context.CancelFunc
	ctx    context.Context
	nodes  []*node
	empty  reading // before there were nodes
	memory float64 // of this process before there were nodes
}

func newFleet(tb testbed.TB, o options) (*fleet, error) {
	// In memory: a thousand nodes do not sync their caches to the disk of one etcd.
	dir, err := os.MkdirTemp("/dev/shm", "lbshipd-fleet-")
	if err != nil {
		return nil, err
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	f := &fleet{o: o, dir: dir}
	f.etcd = testbed.StartEtcd(tb, testbed.EtcdOptions{Args: []string{fmt.Sprintf("--unsafe-no-fsync=%v", !o.fsync)}})
	f.store = etcdstore.Options{Endpoints: f.etcd.Endpoints(), Prefix: prefix, Log: slog.New(slog.DiscardHandler)}
	if f.writer, err = etcdstore.New(f.store); err != nil {
		return nil, err
	}
	tb.Cleanup(func() { f.writer.Close() })
	f.ctx, f.stop = context.WithCancel(context.Background())
	if err := f.fill(); err != nil {
		return nil, err
	}
	load, _ := os.ReadFile("/proc/loadavg")
	f.say("%d nodes, %d objects, fsync %v, %d processors, load before it %s", o.nodes, o.objects, o.fsync, runtime.NumCPU(), strings.Join(strings.Fields(string(load))[:3], " "))
	if f.empty, err = f.read(); err != nil {
		return nil, err
	}
	f.memory = resident()
	return f, nil
}

func (f *fleet) say(format string, args ...any) { fmt.Fprintf(f.o.out, format+"\n", args...) }

func (f *fleet) read() (reading, error) { return read(f.etcd.Endpoints()[0]) }

// fill writes the objects, and the first wave.
func (f *fleet) fill() error {
	var changes []config.Change
	for i := range f.o.objects / 2 {
		source := fmt.Sprintf(`{"name": "source-%03d", "journald": {"units": ["service-%03d.service"]}, "minLevel": "info", "labels": {"tier": "a"}}`, i, i)
		target := fmt.Sprintf(`{"name": "target-%03d", "loki": {"url": "http://loki-%03d.example.net:3100", "basicAuth": {"username": "u", "password": "of target %03d"}}}`, i, i, i)
		changes = append(changes, draft(config.KindSource, fmt.Sprintf("source-%03d", i), source), draft(config.KindTarget, fmt.Sprintf("target-%03d", i), target))
	}
	for len(changes) > 0 {
		n := min(len(changes), 100)
		if err := f.write(f.ctx, changes[:n]...); err != nil {
			return err
		}
		changes = changes[n:]
	}
	_, err := f.wave()
	return err
}

func draft(kind config.Kind, name, text string) config.Change {
	d, err := config.Decode(kind, name, []byte(text))
	if err != nil {
		panic(fmt.Sprintf("an object of the fleet: %v", err))
	}
	return config.Change{Kind: kind, Name: name, Draft: &d}
}

func (f *fleet) write(ctx context.Context, changes ...config.Change) error {
	_, err := f.writer.Write(ctx, changes, config.WriteOptions{Author: config.Author{Name: "fleet", Via: "token"}})
	return err
}

// wave makes a change that all nodes are to see, and returns how long writing took.
func (f *fleet) wave() (time.Duration, error) {
	f.waves++
	value := fmt.Sprint(f.waves)
	f.board.begin(value, f.o.nodes)
	change := draft(config.KindSource, "wave", fmt.Sprintf(`{"name": "wave", "journald": {}, "labels": {%q: %q}}`, waveLabel, value))
	from := time.Now()
	for {
		err := f.write(f.ctx, change)
		if err == nil || !errors.Is(err, config.ErrUnavailable) || time.Since(from) > f.o.limit {
			return time.Since(from), err
		}
	}
}

// start starts all nodes at once.
func (f *fleet) start() error {
	peak := watchPeak(f.etcd.PID(0))
	f.board.begin(fmt.Sprint(f.waves), f.o.nodes)
	from := time.Now()
	f.nodes = make([]*node, f.o.nodes)
	errs := make([]error, f.o.nodes)
	var all sync.WaitGroup
	for i := range f.nodes {
		all.Go(func() { f.nodes[i], errs[i] = startNode(f.ctx, i, &f.board, f.store, f.dir) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	times, err := f.board.since(from, f.o.limit)
	if err != nil {
		return err
	}
	reported, err := f.untilOnline(from)
	if err != nil {
		return err
	}
	now, err := f.read()
	if err != nil {
		return err
	}
	etcd, ours := now.use(f.empty)
	seconds := now.at.Sub(f.empty.at).Seconds()
	f.say("start of all at once: configured %v; all online after %v", times, round(reported))
	f.say("  etcd: %.1f s of a processor, at most %.0f%%; ours: %.1f s; calls: %s", etcd*seconds, 100*peak.peak(), ours*seconds, f.counted(now, f.empty))
	return nil
}

// counted prints how many calls there were.
func (f *fleet) counted(now, before reading) string {
	then := before.calls()
	var words []string
	for _, method := range []string{"Range", "Txn", "Put", "LeaseGrant", "LeaseKeepAlive", "Watch"} {
		n := now.calls()[method]
		if n >= then[method] {
			n -= then[method]
		}
		words = append(words, fmt.Sprintf("%s %.0f", method, n))
	}
	return strings.Join(words, ", ")
}

// untilOnline waits until each node has its lease and its report.
func (f *fleet) untilOnline(from time.Time) (time.Duration, error) {
	for time.Since(from) < f.o.limit {
		alive, err := f.keys("alive/")
		reports, other := f.keys("collectors/")
		if err == nil && other == nil && alive == int64(f.o.nodes) && reports == int64(f.o.nodes) {
			return time.Since(from), nil
		}
		time.Sleep(50 * time.Millisecond) // between two looks
	}
	return 0, fmt.Errorf("not all nodes are online after %v", f.o.limit)
}

// keys counts the keys under a part of the prefix.
func (f *fleet) keys(under string) (int64, error) {
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
	defer cancel()
	res, err := f.etcd.Client().Get(ctx, prefix+"/"+under, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return res.Count, nil
}

func (f *fleet) end() {
	f.stop()
	var all sync.WaitGroup
	for _, n := range f.nodes {
		if n != nil {
			all.Go(n.end)
		}
	}
	all.Wait()
}
