package main

import (
	"strings"
	"testing"
	"time"
)

// The program runs from its start to its end, and its figures are there.
func TestFleet(t *testing.T) {
	var out strings.Builder
	o := options{nodes: 20, length: time.Second, objects: 20, changes: 3, pause: 10 * time.Millisecond, limit: time.Minute, outages: []time.Duration{100 * time.Millisecond}, out: &out}
	if err := run(o); err != nil {
		t.Fatalf("%v, after\n%s", err, &out)
	}
	t.Log(out.String())
	for _, want := range []string{"start of all at once: configured first ", " 20 watchers", "3 changes, from the call", "etcd killed, and away for 100ms", "after compaction"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in what it prints", want)
		}
	}
}

func TestSeries(t *testing.T) {
	var s series
	for i := range 1000 {
		s = append(s, time.Duration(1000-i)*time.Millisecond)
	}
	if got := s.String(); got != "first 1ms, median 501ms, 99% 991ms, last 1s" {
		t.Error(got)
	}
}

func TestMetrics(t *testing.T) {
	all, err := parseMetrics(strings.NewReader("# HELP x y\nx 1.5\n" +
		`grpc_server_handled_total{grpc_code="OK",grpc_method="Range",grpc_type="unary"} 3` + "\n" +
		`grpc_server_handled_total{grpc_code="Unavailable",grpc_method="Range",grpc_type="unary"} 2` + "\n" +
		`grpc_server_handled_total{grpc_code="OK",grpc_method="Watch",grpc_type="bidi_stream"} 9` + "\n" +
		`grpc_server_msg_received_total{grpc_method="Watch",grpc_type="bidi_stream"} 7` + "\n"))
	if err != nil || all["x"] != 1.5 {
		t.Fatal(all, err)
	}
	r := reading{at: time.Unix(10, 0), metrics: all}
	if got := r.since(reading{at: time.Unix(0, 0)}); got != "Watch 0.70/s, Range 0.50/s" {
		t.Error(got)
	}
}
