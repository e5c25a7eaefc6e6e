package main

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reading is what etcd and this process have used up to a moment.
type reading struct {
	at      time.Time
	metrics map[string]float64 // of etcd, by name with labels
	ours    time.Duration      // processor time of this process
}

// read asks etcd for its metrics.
func read(endpoint string) (reading, error) {
	client := http.Client{Timeout: 20 * time.Second}
	res, err := client.Get(endpoint + "/metrics")
	if err != nil {
		return reading{}, fmt.Errorf("reading etcd's metrics: %w", err)
	}
	defer res.Body.Close()
	r := reading{at: time.Now(), ours: processorTime()}
	r.metrics, err = parseMetrics(res.Body)
	return r, err
}

// parseMetrics reads Prometheus' text format.
func parseMetrics(from io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		line := lines.Text()
		cut := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || cut < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[cut+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("reading etcd's metrics: %q: %w", line, err)
		}
		all[line[:cut]] = value
	}
	return all, lines.Err()
}

// calls returns how many calls of each method of gRPC there were, and of the two
// long streams how many messages.
func (r reading) calls() map[string]float64 {
	out := map[string]float64{}
	for name, value := range r.metrics {
		method := label(name, "grpc_method")
		stream := method == "LeaseKeepAlive" || method == "Watch"
		switch {
		case strings.HasPrefix(name, "grpc_server_handled_total{") && !stream:
			out[method] += value
		case strings.HasPrefix(name, "grpc_server_msg_received_total{") && stream:
			out[method] += value
		}
	}
	return out
}

// label returns the value of a label in the name of a series.
func label(series, name string) string {
	_, rest, _ := strings.Cut(series, name+`="`)
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// since prints which calls there were per second, the most frequent first. A
// process that was started since began with none.
func (r reading) since(before reading) string {
	seconds := r.at.Sub(before.at).Seconds()
	now, then := r.calls(), before.calls()
	rate := map[string]float64{}
	for method, n := range now {
		if n > then[method] {
			rate[method] = (n - then[method]) / seconds
		}
	}
	var words []string
	for _, method := range slices.SortedFunc(maps.Keys(rate), func(a, b string) int { return int(1000 * (rate[b] - rate[a])) }) {
		words = append(words, fmt.Sprintf("%s %.2f/s", method, rate[method]))
	}
	return strings.Join(words, ", ")
}

// use returns the share of a processor that etcd and we had.
func (r reading) use(before reading) (etcd, ours float64) {
	seconds := r.at.Sub(before.at).Seconds()
	return (r.metrics["process_cpu_seconds_total"] - before.metrics["process_cpu_seconds_total"]) / seconds, (r.ours - before.ours).Seconds() / seconds
}

func (r reading) megabytes(name string) float64 { return r.metrics[name] / (1 << 20) }

func processorTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// resident returns the memory of this process in bytes, garbage collected before.
func resident() float64 {
	runtime.GC()
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	var size, pages float64
	fmt.Sscan(string(text), &size, &pages)
	return pages * float64(os.Getpagesize())
}

// processors are what a process used of them, sampled.
type processors struct {
	pid  int
	stop chan struct{}
	out  chan float64
}

// watchPeak begins to sample how much of a processor a process has within half a second.
func watchPeak(pid int) *processors {
	p := &processors{pid: pid, stop: make(chan struct{}), out: make(chan float64, 1)}
	go p.run()
	return p
}

func (p *processors) run() {
	const every = 500 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	peak, last, at := 0.0, ticks(p.pid), time.Now()
	for {
		select {
		case <-p.stop:
			p.out <- peak
			return
		case now := <-tick.C:
			n := ticks(p.pid)
			peak = max(peak, (n-last)/100/now.Sub(at).Seconds())
			last, at = n, now
		}
	}
}

// peak ends it and returns the most.
func (p *processors) peak() float64 {
	close(p.stop)
	return <-p.out
}

// ticks returns the processor time of a process in hundredths of a second; 0 if it is gone.
func ticks(pid int) float64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	user, _ := strconv.ParseFloat(fields[11], 64)
	system, _ := strconv.ParseFloat(fields[12], 64)
	return user + system
}
