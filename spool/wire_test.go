package spool_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/parse"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
	"github.com/lbshipd/lbshipd/sinks/loki"
	"github.com/lbshipd/lbshipd/sinks/rsyslog"
	"github.com/lbshipd/lbshipd/spool"
)

// parsed makes batches as feeds make them: of each format, and of a journal.
func parsed(t *testing.T) []*record.Batch {
	t.Helper()
	lines := map[string][]string{
		"json":           {`{"time":"2026-01-02T03:04:05Z","level":"warn","msg":"a \"b\"","user":"x","n":3}`, `not json`, ``},
		"logfmt":         {`time=2026-01-02T03:04:05Z level=error msg="two words" code=7`},
		"klog":           {"I0102 03:04:05.000006    1234 file.go:12] hello"},
		"syslog-rfc5424": {`<165>1 2026-01-02T03:04:05.003Z host.example app 8710 ID47 [x@1 a="b"] text`, "<1>1 2026-01-02T03:04:05Z h - - - - kernel"},
		"syslog-rfc3164": {`<34>Jan  2 03:04:05 host su[77]: failed`},
		"cri":            {"2026-01-02T03:04:05.000000001Z stderr F content"},
		"raw":            {"\x00\xff\x1b[31mred", "tab\tand more"},
	}
	var batches []*record.Batch
	for name, texts := range lines {
		b := record.NewBatch()
		t.Cleanup(b.Release)
		b.Origin = &record.Origin{Source: "src-" + name, Kind: "file", Input: "1:2:3", Path: "/var/log/" + name + ".log", Host: "node1",
			Labels: []record.Label{{Name: "role", Value: "node"}}}
		b.Before, b.After = "0", "9"
		f, err := parse.New(name, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			r := b.Add()
			r.Time, r.Offset = 1_767_323_045_000_000_000+int64(i), int64(i)*100
			r.Line = b.Copy([]byte(text))
			r.Message = r.Line
			if !f.Parse(b, r, &parse.Options{Fields: true, MaxFields: 64, Location: time.UTC, Now: time.Unix(1_767_323_045, 0)}) {
				r.Flags |= record.Unparsed
			}
			b.Read++
			b.ReadBytes += int64(len(text))
		}
		batches = append(batches, b)
	}
	b := record.NewBatch()
	t.Cleanup(b.Release)
	b.Origin, b.Before, b.After = &record.Origin{Source: "journal", Kind: "journald", Input: "j", Path: "/var/log/journal", Host: "node1"}, "a", "b"
	for i := range 20 {
		r := b.Add()
		r.Time, r.Level, r.Facility = 1_767_323_045_000_000_000+int64(i)*1000, record.Level(i%10), uint8(i%24)
		r.Line = b.Copy(fmt.Appendf(nil, "entry %d", i))
		r.Message = r.Line
		h := b.NewHeader()
		h.Host, h.Identifier, h.PID, h.Unit = []byte("node1"), fmt.Appendf(nil, "id%d", i/4), fmt.Appendf(nil, "%d", 100+i/3), []byte("x.service")
		r.Header = h
		b.AddField(r, []byte("MESSAGE_ID"), fmt.Appendf(nil, "%032x", i))
		if i%5 == 0 {
			r.Flags |= record.Truncated | record.TimeAssigned
		}
	}
	return append(batches, b)
}

// spooled sends the batches through a spool.
func spooled(t *testing.T, batches []*record.Batch) []*record.Batch {
	t.Helper()
	s, err := spool.Open(t.TempDir(), spool.Options{MaxBytes: 16 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var entries []spool.Entry
	for _, b := range batches {
		entries = append(entries, spool.Entry{Batch: b})
	}
	if frames, err := s.Append(entries); err != nil || len(frames) != len(batches) {
		t.Fatalf("%d frames, %v", len(frames), err)
	}
	var out []*record.Batch
	for range batches {
		b := record.NewBatch()
		t.Cleanup(b.Release)
		if _, err := s.Next(b); err != nil {
			t.Fatal(err)
		}
		out = append(out, b)
	}
	return out
}

func deps() sinks.Deps {
	return sinks.Deps{Host: "node1", Request: func(time.Duration, string) {}, Note: func(string, int) {}}
}

func send(t *testing.T, make func() (sinks.Sink, error), batches []*record.Batch) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	s, err := make()
	if err != nil {
		t.Fatal(err)
	}
	if res, err := s.Send(ctx, batches); err != nil || res.Batches != len(batches) {
		t.Fatalf("%+v, %v", res, err)
	}
	if err := s.Close(ctx); err != nil {
		t.Fatal(err)
	}
}

func TestLokiGetsTheSameBytesFromTheSpool(t *testing.T) {
	var mu sync.Mutex
	var body bytes.Buffer
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		data, _ := io.ReadAll(r.Body)
		plain, err := snappy.Decode(nil, data)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		body.Write(plain)
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	c := config.Config{Targets: []config.Target{{Name: "t", Loki: &config.LokiTarget{URL: server.URL,
		StructuredMetadata: []string{"pid", "msgid", "truncated", "user", "n", "code", "stream", "MESSAGE_ID"}}}}}
	c.SetDefaults()
	push := func(batches []*record.Batch) []byte {
		body.Reset()
		send(t, func() (sinks.Sink, error) { return loki.New(&c.Targets[0], deps()) }, batches)
		return bytes.Clone(body.Bytes())
	}
	batches := parsed(t)
	want, got := push(batches), push(spooled(t, batches))
	if len(want) < 1000 || !bytes.Equal(want, got) {
		t.Errorf("%d bytes without the spool, %d with it", len(want), len(got))
	}
}

func TestSyslogGetsTheSameBytesFromTheSpool(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	streams := make(chan []byte)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			data, _ := io.ReadAll(conn)
			conn.Close()
			streams <- data
		}
	}()
	c := config.Config{Targets: []config.Target{{Name: "t", Rsyslog: &config.RsyslogTarget{Address: listener.Addr().String(), Protocol: "tcp",
		StructuredData: []string{"user", "n", "code", "MESSAGE_ID"}}}}}
	c.SetDefaults()
	stream := func(batches []*record.Batch) []byte {
		send(t, func() (sinks.Sink, error) { return rsyslog.New(&c.Targets[0], deps()) }, batches)
		return <-streams
	}
	batches := parsed(t)
	want, got := stream(batches), stream(spooled(t, batches))
	if len(want) < 1000 || !bytes.Equal(want, got) {
		t.Errorf("without the spool:\n%q\nwith it:\n%q", want, got)
	}
}
