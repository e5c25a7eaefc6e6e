package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// weather is how a receiver behaves for a while: one fault in so many
// requests, and whether it is there at all.
type weather struct {
	faultIn int // one request (or connection's hundred messages) in so many; 0: none
	gone    bool
	name    string
}

var (
	fine  = weather{name: "fine"}
	shaky = weather{faultIn: 8, name: "shaky"}
	storm = weather{faultIn: 2, name: "storm"}
	gone  = weather{gone: true, name: "gone"}
)

// lokiFake is a Loki that fails in all ways, and never lies: what it answered
// with 204 it has.
type lokiFake struct {
	address string // host:port; it stays
	rules   *lokiRules
	mu      sync.Mutex // of rules
	book    *book
	count   *counts
	dice    *dice
	faults  *deck
	sky     atomic.Pointer[weather]
	breaker *breaker
	server  *http.Server
}

func startLokiFake(tb *bed, b *book, c *counts, d *dice, maxLine int) *lokiFake {
	f := &lokiFake{rules: newLokiRules(maxLine), book: b, count: c, dice: d, faults: newDeck(d, lokiFaults), breaker: &breaker{}}
	f.sky.Store(&fine)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	f.address = l.Addr().String()
	f.serve(l)
	tb.Cleanup(func() { f.server.Close() })
	return f
}

func (f *lokiFake) serve(l net.Listener) {
	f.server = &http.Server{Handler: http.HandlerFunc(f.handle)}
	go f.server.Serve(l)
}

// turn changes its behaviour. One that goes away closes its port.
func (f *lokiFake) turn(to weather) {
	was := f.sky.Swap(&to)
	switch {
	case to.gone && !was.gone:
		f.server.Close()
		f.count.add("loki gone")
	case !to.gone && was.gone:
		if l := listenAgain(f.address); l != nil {
			f.serve(l)
			return
		}
		f.book.find("rig", "the fake Loki's port %s is taken by somebody else", f.address)
	}
}

// listenAgain takes a port that was ours a moment ago.
func listenAgain(address string) (l net.Listener) {
	await(20*time.Second, func() bool {
		var err error
		l, err = net.Listen("tcp", address)
		return err == nil
	})
	return l
}

func (f *lokiFake) handle(w http.ResponseWriter, r *http.Request) {
	fault := ""
	if in := f.sky.Load().faultIn; in > 0 && f.dice.chance(in) {
		fault = f.faults.deal()
	}
	if fault == "reads slowly" {
		f.count.add("loki " + fault)
		r.Body = io.NopCloser(slowReader{r.Body})
	}
	if fault == "resets" {
		f.count.add("loki " + fault)
		reset(w)
		return
	}
	packed, err := io.ReadAll(io.LimitReader(r.Body, 64<<20))
	if err != nil {
		return // it went away
	}
	if f.fails(w, r, fault) {
		return
	}
	data, err := unsnap(packed, 256<<20)
	var streams []pushStream
	if err == nil {
		streams, err = decodePush(data)
	}
	if err != nil || r.URL.Path != "/loki/api/v1/push" {
		f.book.find("protocol", "loki: a request for %s: %v", r.URL.Path, err)
		http.Error(w, fmt.Sprint(err), 400)
		return
	}
	if fault == "413" && lines(streams) > 1 { // of one line alone it would be a refusal for ever
		f.count.add("loki 413")
		http.Error(w, fmt.Sprintf("message size too large than max (%d vs %d)", len(data), len(data)-1), 413)
		return
	}
	f.mu.Lock()
	status, body, stored, refused := f.rules.push(time.Now(), streams)
	f.note(stored, refused)
	f.mu.Unlock()
	if status == 400 {
		f.count.add("loki 400")
	}
	f.answer(w, r, fault, status, body)
}

func lines(streams []pushStream) (n int) {
	for _, s := range streams {
		n += len(s.entries)
	}
	return n
}

// fails answers without storing anything, and reports whether it did.
func (f *lokiFake) fails(w http.ResponseWriter, r *http.Request, fault string) bool {
	switch fault {
	case "429":
		if f.dice.chance(2) {
			w.Header().Set("Retry-After", "1")
		}
		http.Error(w, "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest '9000' lines totaling '9000000' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased", 429)
	case "500":
		http.Error(w, "rpc error: code = Unknown desc = at least 1 live replicas required, could only find 0", 500)
	case "503":
		http.Error(w, "empty ring", 503)
	case "400 of a proxy":
		http.Error(w, "<html><body>Bad Request</body></html>", 400)
	case "hangs":
		select {
		case <-r.Context().Done():
		case <-time.After(8 * time.Second):
		}
	case "half an answer":
		c, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return true
		}
		io.WriteString(c, "HTTP/1.1 204 No Con")
		c.Close()
	default:
		return false
	}
	f.count.add("loki " + fault)
	return true
}

// answer says what became of a push that was looked at.
func (f *lokiFake) answer(w http.ResponseWriter, r *http.Request, fault string, status int, body string) {
	switch fault {
	case "stores and resets":
		f.count.add("loki " + fault)
		reset(w)
		return
	case "stores and hangs":
		f.count.add("loki " + fault)
		select {
		case <-r.Context().Done():
		case <-time.After(8 * time.Second):
		}
		reset(w)
		return
	case "stores and says 500":
		f.count.add("loki " + fault)
		http.Error(w, "context deadline exceeded", 500)
		return
	case "answers late":
		f.count.add("loki " + fault)
		time.Sleep(f.dice.between(100*time.Millisecond, 1200*time.Millisecond))
	}
	w.WriteHeader(status)
	io.WriteString(w, body)
}

// note writes down what is stored and refused for good.
func (f *lokiFake) note(stored, refused []storedLine) {
	for _, s := range f.breaker.spoil(stored) {
		a := arrival{"loki", s.labels, s.at, s.line}
		f.book.stored(a)
		f.book.arrived(a)
	}
	for _, s := range refused {
		f.book.refused("loki", s.line)
	}
}

var lokiFaults = []string{"429", "413", "500", "503", "400 of a proxy", "hangs", "half an answer", "resets", "reads slowly",
	"stores and resets", "stores and hangs", "stores and says 500", "answers late"}

// slowReader reads a little at a time.
type slowReader struct{ io.Reader }

func (s slowReader) Read(p []byte) (int, error) {
	time.Sleep(2 * time.Millisecond)
	return s.Reader.Read(p[:min(len(p), 4096)])
}

// reset ends the connection of a request with a reset.
func reset(w http.ResponseWriter) {
	c, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

// breaker spoils what a receiver keeps, so that the oracle can be seen to see.
type breaker struct {
	what string // "", drop, reorder, again, change
	done bool
}

func (b *breaker) spoil(lines []storedLine) []storedLine {
	if b.what == "" || b.done || len(lines) < 20 {
		return lines
	}
	b.done = true
	switch b.what {
	case "drop":
		for i, l := range lines {
			if strings.Contains(l.labels, `source="raw"`) { // of which every line is owed
				return append(lines[:i:i], lines[i+1:]...)
			}
		}
		b.done = false
	case "reorder":
		for i := range lines[1:] {
			if lines[i].labels == lines[i+1].labels {
				lines[i], lines[i+1] = lines[i+1], lines[i]
				return lines
			}
		}
		b.done = false
	case "again":
		for _, l := range lines {
			if strings.Contains(l.labels, `source="json"`) { // of which every line has a time of its own
				l.at++
				return append(lines, l)
			}
		}
		b.done = false
	case "change":
		lines[7].line = append([]byte(nil), lines[7].line...)
		lines[7].line[len(lines[7].line)-1] ^= 1
	}
	return lines
}
