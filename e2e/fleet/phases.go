package main

import (
	"runtime"
	"runtime/debug"
	"time"

	"github.com/lbshipd/lbshipd/config/etcdstore"
)

// rest measures while nothing changes.
func (f *fleet) rest() error {
	before, err := f.read()
	if err != nil {
		return err
	}
	time.Sleep(f.o.length) // what is measured is this time
	now, err := f.read()
	if err != nil {
		return err
	}
	n := float64(f.o.nodes)
	etcd, ours := now.use(before)
	f.say("at rest for %v: etcd %.1f%% of a processor (%.3f%% per node), ours %.1f%% (%.3f%% per node)", f.o.length, 100*etcd, 100*etcd/n, 100*ours, 100*ours/n)
	f.say("  calls: %s", now.since(before))
	f.say("  etcd: %.0f MiB resident (%.0f KiB per node over %.0f MiB), %.0f goroutines, %.0f files, %.0f watchers, %.0f streams of watches",
		now.megabytes("process_resident_memory_bytes"), (now.metrics["process_resident_memory_bytes"]-f.empty.metrics["process_resident_memory_bytes"])/1024/n, f.empty.megabytes("process_resident_memory_bytes"),
		now.metrics["go_goroutines"], now.metrics["process_open_fds"], now.metrics["etcd_debugging_mvcc_watcher_total"], now.metrics["etcd_debugging_mvcc_watch_stream_total"])
	f.say("  ours: %.0f KiB resident and %.1f goroutines per node", (resident()-f.memory)/1024/n, float64(runtime.NumGoroutine())/n)
	f.say("  revisions %.2f/s, database %.2f KiB/s, proposals %.2f/s, received %.1f KiB/s, sent %.1f KiB/s", rate(before, now, "etcd_debugging_mvcc_current_revision"), rate(before, now, "etcd_mvcc_db_total_size_in_use_in_bytes")/1024,
		rate(before, now, "etcd_server_proposals_applied_total"), rate(before, now, "etcd_network_client_grpc_received_bytes_total")/1024, rate(before, now, "etcd_network_client_grpc_sent_bytes_total")/1024)
	return nil
}

func rate(before, now reading, name string) float64 {
	return (now.metrics[name] - before.metrics[name]) / now.at.Sub(before.at).Seconds()
}

// change measures how long a change takes from the API's write to each node.
func (f *fleet) change() error {
	before, err := f.read()
	if err != nil {
		return err
	}
	// A thousand nodes collect their garbage alone, not all in one heap for each.
	defer debug.SetGCPercent(debug.SetGCPercent(800))
	peak := watchPeak(f.etcd.PID(0))
	var all, writes, whole series
	for range f.o.changes {
		from := time.Now()
		took, err := f.wave()
		if err != nil {
			return err
		}
		times, err := f.board.since(from, f.o.limit)
		if err != nil {
			return err
		}
		all, writes, whole = append(all, times...), append(writes, took), append(whole, times.of(100))
		time.Sleep(f.o.pause) // the reports that follow are part of what is measured
	}
	now, err := f.read()
	if err != nil {
		return err
	}
	etcd, ours := now.use(before)
	seconds, n := now.at.Sub(before.at).Seconds(), float64(f.o.changes)
	f.say("%d changes, from the call until a node has it: %v", f.o.changes, all)
	f.say("  until the call returns: %v", writes)
	f.say("  until all nodes have it: %v", whole)
	f.say("  etcd: %.2f s of a processor per change, with the reports that follow, at most %.0f%%; ours: %.2f s per change; calls: %s",
		etcd*seconds/n, 100*peak.peak(), ours*seconds/n, f.counted(now, before))
	return nil
}

// outage kills etcd, starts it again, and measures how the nodes come back.
func (f *fleet) outage(away time.Duration) (err error) {
	ours := processorTime()
	f.etcd.Kill(0)
	time.Sleep(away)
	quiet := processorTime() - ours
	f.etcd.Restart()
	// A new connection: what is measured is when the nodes are back, not when the writer is.
	f.writer.Close()
	if f.writer, err = etcdstore.New(f.store); err != nil {
		return err
	}
	peak := watchPeak(f.etcd.PID(0))
	from := time.Now()
	took, err := f.wave()
	if err != nil {
		return err
	}
	times, err := f.board.since(from, f.o.limit)
	if err != nil {
		return err
	}
	online, err := f.untilOnline(from)
	if err != nil {
		return err
	}
	time.Sleep(f.o.pause) // what is reported late counts too
	now, err := f.read()
	if err != nil {
		return err
	}
	f.say("etcd killed, and away for %v: from its first answer until a node has a new change: %v", away, times)
	f.say("  the change was written after %v; all are online after %v; meanwhile etcd used %.1f s of a processor, at most %.0f%%; calls: %s", round(took), round(online), now.metrics["process_cpu_seconds_total"], 100*peak.peak(), f.counted(now, reading{}))
	f.say("  while it was away ours used %.3f%% of a processor per node", 100*quiet.Seconds()/away.Seconds()/float64(f.o.nodes))
	return nil
}

// growth says what etcd holds at the end, and what compaction leaves of it.
func (f *fleet) growth() error {
	before, err := f.read()
	if err != nil {
		return err
	}
	f.etcd.Compact()
	now, err := f.read()
	if err != nil {
		return err
	}
	f.say("at the end: %.0f keys, revision %.0f, database %.1f MiB, of which in use %.1f MiB, after compaction %.1f MiB", now.metrics["etcd_debugging_mvcc_keys_total"], now.metrics["etcd_debugging_mvcc_current_revision"],
		now.megabytes("etcd_mvcc_db_total_size_in_bytes"), before.megabytes("etcd_mvcc_db_total_size_in_use_in_bytes"), now.megabytes("etcd_mvcc_db_total_size_in_use_in_bytes"))
	return nil
}
