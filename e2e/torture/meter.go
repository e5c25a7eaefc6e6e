package main

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// meter is a receiver's count of numbered lines, small enough for hundreds of
// millions of them.
type meter struct {
	mu     sync.Mutex
	seen   []uint64 // one bit for each number
	unique int
	again  int      // arrivals of what was there already
	wrong  []string // what should not have come
	delays []time.Duration
	last   int // the number that came last
}

// add takes in a line. at is Loki's time for it, 0 for syslog.
func (m *meter) add(payload []byte, at int64, now time.Time) {
	n, own, ok := numberOf(payload)
	m.mu.Lock()
	defer m.mu.Unlock()
	if !ok || at != 0 && at != own {
		if !bytes.HasPrefix(payload, []byte("lbshipd: ")) && len(m.wrong) < 20 {
			m.wrong = append(m.wrong, fmt.Sprintf("%.120q with time %d", payload, at))
		}
		return
	}
	for n/64 >= len(m.seen) {
		m.seen = append(m.seen, make([]uint64, 1+len(m.seen))...)
	}
	bit := uint64(1) << (n % 64)
	if m.last = n; m.seen[n/64]&bit != 0 {
		m.again++
		return
	}
	m.seen[n/64] |= bit
	m.unique++
	m.delays = append(m.delays, now.Sub(time.Unix(0, own)))
}

func (m *meter) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.unique
}

// missing lists the numbers below total that never came.
func (m *meter) missing(total int) (missing []int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := 0; n < total; n++ {
		if n/64 >= len(m.seen) || m.seen[n/64]>>(n%64)&1 == 0 {
			missing = append(missing, n)
		} else if n%64 == 0 && bits.OnesCount64(m.seen[n/64]) == 64 {
			n += 63
		}
	}
	return missing
}

// percentiles of the delays since they were asked for last.
func (m *meter) percentiles(of ...float64) (out []time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	slices.Sort(m.delays)
	for _, p := range of {
		if len(m.delays) == 0 {
			return make([]time.Duration, len(of))
		}
		out = append(out, m.delays[int(float64(len(m.delays)-1)*p)])
	}
	m.delays = m.delays[:0]
	return out
}

// numbered is a line of exactly size bytes with its newline: JSON, with a time
// and a number.
func numbered(n int, at time.Time, size int) []byte {
	b := append(make([]byte, 0, size), `{"time":"`...)
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000000000Z")
	b = fmt.Appendf(b, `","level":"info","n":%d,"msg":"`, n)
	for len(b) < size-3 {
		b = append(b, "the quick brown fox jumps over the lazy dog "[len(b)%44])
	}
	return append(b, "\"}\n"...)
}

// numberOf reads the number and the time of a numbered line.
func numberOf(line []byte) (n int, at int64, ok bool) {
	if len(line) < 60 || !bytes.HasPrefix(line, []byte(`{"time":"`)) {
		return 0, 0, false
	}
	t, err := time.Parse(time.RFC3339Nano, string(line[9:39]))
	if err != nil {
		return 0, 0, false
	}
	_, rest, ok := bytes.Cut(line, []byte(`"n":`))
	if !ok {
		return 0, 0, false
	}
	number, _, ok := bytes.Cut(rest, []byte(","))
	if !ok {
		return 0, 0, false
	}
	n, err = strconv.Atoi(string(number))
	return n, t.UnixNano(), err == nil
}

// meterLoki is a Loki that only counts. Its state can be changed at any time.
type meterLoki struct {
	meter
	address string
	mode    string // "", refuses, fails, hangs
	server  *http.Server
}

func startMeterLoki(tb *bed) *meterLoki {
	m := &meterLoki{}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	m.address = l.Addr().String()
	m.serve(l)
	tb.Cleanup(func() { m.server.Close() })
	return m
}

func (m *meterLoki) serve(l net.Listener) {
	m.server = &http.Server{Handler: http.HandlerFunc(m.handle)}
	go m.server.Serve(l)
}

func (m *meterLoki) turn(tb *bed, mode string) {
	m.mu.Lock()
	was := m.mode
	m.mode = mode
	m.mu.Unlock()
	switch {
	case mode == "refuses":
		m.server.Close()
	case was == "refuses":
		l := listenAgain(m.address)
		if l == nil {
			tb.Fatalf("the port %s is taken by somebody else", m.address)
		}
		m.serve(l)
	}
}

func (m *meterLoki) handle(w http.ResponseWriter, r *http.Request) {
	m.mu.Lock()
	mode := m.mode
	m.mu.Unlock()
	packed, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	switch mode {
	case "fails":
		http.Error(w, "empty ring", 500)
		return
	case "hangs":
		<-r.Context().Done()
		return
	}
	data, err := unsnap(packed, 256<<20)
	var streams []pushStream
	if err == nil {
		streams, err = decodePush(data)
	}
	if err != nil || len(streams) == 0 {
		http.Error(w, "error at least one valid stream is required for ingestion", 422)
		return
	}
	now := time.Now()
	for _, s := range streams {
		for _, e := range s.entries {
			m.add(e.line, e.at, now)
		}
	}
	w.WriteHeader(204)
}

// meterSyslog is a syslog server over TLS that only counts.
type meterSyslog struct {
	meter
	address string
}

func startMeterSyslog(tb *bed, conf *tls.Config) *meterSyslog {
	m := &meterSyslog{}
	l, err := tls.Listen("tcp", "127.0.0.1:0", conf)
	if err != nil {
		tb.Fatalf("listening: %v", err)
	}
	m.address = l.Addr().String()
	tb.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go m.read(c)
		}
	}()
	return m
}

func (m *meterSyslog) read(c net.Conn) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 256<<10)
	var buf []byte
	for {
		head, err := in.ReadSlice(' ')
		if err != nil {
			return
		}
		n, err := strconv.Atoi(string(head[:len(head)-1]))
		if err != nil || n < 1 || n > 1<<20 {
			return
		}
		buf = slices.Grow(buf[:0], n)[:n]
		if _, err := io.ReadFull(in, buf); err != nil {
			return
		}
		if msg, err := messageOf(buf); err == nil {
			m.add(msg, 0, time.Now())
		}
	}
}
