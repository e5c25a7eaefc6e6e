package loki

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang/snappy"
	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// fake is a Loki for the faults that the real one cannot be made to have. It
// keeps what it said yes to. answer decides; nil is a yes.
type fake struct {
	*httptest.Server
	mu     sync.Mutex
	lines  []string // stored, in the order of arrival
	pushes [][]string
	heads  []http.Header
	answer func(w http.ResponseWriter, r *http.Request, req *push.PushRequest) bool // false: it has answered
}

func newFake(t *testing.T) *fake {
	f := &fake{}
	f.Server = httptest.NewServer(http.HandlerFunc(f.serve))
	t.Cleanup(f.Close)
	return f
}

func (f *fake) serve(w http.ResponseWriter, r *http.Request) {
	packed, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	data, err := snappy.Decode(nil, packed)
	var req push.PushRequest
	if err == nil {
		err = req.Unmarshal(data)
	}
	if err != nil || r.URL.Path != pushPath {
		http.Error(w, fmt.Sprint(r.URL.Path, err), 400)
		return
	}
	f.mu.Lock()
	f.heads = append(f.heads, r.Header.Clone())
	decide := f.answer
	f.mu.Unlock()
	if decide != nil && !decide(w, r, &req) {
		return
	}
	if len(req.Streams) == 0 { // as the real one: TestRealEmptyPush
		http.Error(w, "error at least one valid stream is required for ingestion", 422)
		return
	}
	f.store(&req)
	w.WriteHeader(204)
}

func (f *fake) store(req *push.PushRequest) {
	f.mu.Lock()
	defer f.mu.Unlock()
	lines := linesOf(req)
	f.lines = append(f.lines, lines...)
	f.pushes = append(f.pushes, lines)
}

func (f *fake) decide(answer func(w http.ResponseWriter, r *http.Request, req *push.PushRequest) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.answer = answer
}

func linesOf(req *push.PushRequest) (lines []string) {
	for _, s := range req.Streams {
		for _, e := range s.Entries {
			lines = append(lines, e.Line)
		}
	}
	return lines
}

func numbered(stream string, n int) []line {
	now := time.Now().Add(-time.Minute)
	var out []line
	for i := range n {
		out = append(out, line{stream, now.Add(time.Duration(i) * time.Millisecond), stream + strconv.Itoa(i), nil})
	}
	return out
}

func texts(lines []line) (out []string) {
	for _, l := range lines {
		out = append(out, l.text)
	}
	return out
}

func always(status int, header, value, body string) func(http.ResponseWriter, *http.Request, *push.PushRequest) bool {
	return func(w http.ResponseWriter, _ *http.Request, _ *push.PushRequest) bool {
		if header != "" {
			w.Header().Set(header, value)
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
		return false
	}
}

// Answers that are no answer for the lines: the class, and nothing is counted.
func TestAnswersThatCanPass(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status              int
		header, value, body string
		class, says         string
	}{
		{500, "", "", "boom", sinks.ClassServer, "HTTP 500: boom"},
		{503, "", "", "", sinks.ClassServer, "Service Unavailable"},
		{429, "Retry-After", "7", "slow", sinks.ClassLimited, "slow"},
		{401, "", "", "no org id", sinks.ClassAuth, "no org id"},
		{403, "", "", "", sinks.ClassAuth, "Forbidden"},
		{404, "", "", "page not found", sinks.ClassHTTP, "page not found"},
		{405, "", "", "", sinks.ClassHTTP, "Method Not Allowed"},
		{408, "", "", "", sinks.ClassHTTP, "408"},
		{302, "Location", "https://login.example/x", "", sinks.ClassHTTP, "redirects to https://login.example/x"},
		{307, "Location", "/elsewhere", "", sinks.ClassHTTP, "redirects to /elsewhere"},
		{200, "Content-Type", "text/html; charset=utf-8", "<html>Log in", sinks.ClassHTTP, "Log in"},
		{260, "", "", "ingestion blocked for user 'x' until tomorrow", sinks.ClassHTTP, "blocked"},
		{400, "", "", "ingestion blocked for user 'x' until tomorrow", sinks.ClassHTTP, "blocked"},
		{400, "", "", "The plain HTTP request was sent to HTTPS port", sinks.ClassHTTP, "plain HTTP"},
		{422, "", "", "", sinks.ClassHTTP, "422"},
		{206, "", "", "", sinks.ClassHTTP, "206"},
	} {
		t.Run(fmt.Sprint(c.status, c.says), func(t *testing.T) {
			f := newFake(t)
			f.decide(always(c.status, c.header, c.value, c.body))
			r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
			b := batchOf(numbered("a", 20)...)
			res, err := r.wantError(t, c.class, b)
			if res.Batches != 0 || !strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), f.URL) {
				t.Errorf("%+v, %v", res, err)
			}
			if n := r.requests(); n > 2 || !slices.Contains(r.outcomes, c.class) {
				t.Errorf("%d requests, outcomes %v", n, r.outcomes)
			}
			if want := 7 * time.Second; c.value == "7" && err.RetryAfter != want {
				t.Errorf("retry after %v, want %v", err.RetryAfter, want)
			}
			f.decide(nil)
			r.untilSent(t, b)
			if want := texts(numbered("a", 20)); !slices.Equal(f.lines, want) {
				t.Errorf("then it has %q", f.lines)
			}
		})
	}
}

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"":                              0,
		"0":                             0,
		"12":                            12 * time.Second,
		"-3":                            0,
		"soon":                          0,
		"99999999999999":                0,
		"86400":                         time.Hour,
		"Sat, 21 Nov 2026 09:00:30 GMT": 30 * time.Second,
		"Sat, 21 Nov 2026 08:00:30 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {text}}, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// Faults of the connection.
func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	hijack := func(write string) func(http.ResponseWriter, *http.Request, *push.PushRequest) bool {
		return func(w http.ResponseWriter, _ *http.Request, _ *push.PushRequest) bool {
			c, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			io.WriteString(c, write)
			if write == "" {
				c.(*net.TCPConn).SetLinger(0) // a reset
			}
			c.Close()
			return false
		}
	}
	hang := func(w http.ResponseWriter, r *http.Request, _ *push.PushRequest) bool {
		<-r.Context().Done()
		return false
	}
	for _, c := range []struct {
		name, class string
		answer      func(http.ResponseWriter, *http.Request, *push.PushRequest) bool
	}{
		{"reset", sinks.ClassBroken, hijack("")},
		{"half a head", sinks.ClassBroken, hijack("HTTP/1.1 400 Bad R")},
		{"half a refusal", sinks.ClassBroken, hijack("HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nentry for stream 'x' has timestamp too new")},
		{"no HTTP", sinks.ClassBroken, hijack("SSH-2.0-OpenSSH\r\n")},
		{"hang", sinks.ClassTimeout, hang},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFake(t)
			f.decide(c.answer)
			target := config.LokiTarget{URL: f.URL}
			if c.class == sinks.ClassTimeout {
				target.Timeout = config.Duration(300 * time.Millisecond)
			}
			r := newRig(t, target, nil)
			b := batchOf(numbered("a", 50)...)
			r.wantError(t, c.class, b)
			f.decide(nil)
			r.Sink.client.timeout = time.Minute
			r.send(t, b)
			if want := texts(numbered("a", 50)); !slices.Equal(f.lines, want) {
				t.Errorf("then it has %q", f.lines)
			}
		})
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := "http://" + l.Addr().String()
	l.Close()
	for url, class := range map[string]string{
		closed:                        sinks.ClassConnect,
		"http://no-such-host.invalid": sinks.ClassResolve,
	} {
		r := newRig(t, config.LokiTarget{URL: url}, nil)
		r.wantError(t, class, batchOf(numbered("a", 1)...))
	}
	// A server without TLS.
	f := newFake(t)
	r := newRig(t, config.LokiTarget{URL: strings.Replace(f.URL, "http:", "https:", 1)}, nil)
	r.wantError(t, sinks.ClassTLS, batchOf(numbered("a", 1)...))
}

// The end of the context ends a Send at once, and is no fault of the target.
func TestShutdown(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	reached := make(chan struct{})
	f.decide(func(w http.ResponseWriter, r *http.Request, _ *push.PushRequest) bool {
		close(reached)
		<-r.Context().Done()
		return false
	})
	r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-reached; cancel() }()
	res, err := r.Send(ctx, []*record.Batch{batchOf(numbered("a", 5)...)})
	var failed *sinks.Error
	if !errors.As(err, &failed) || failed.Class != sinks.ClassShutdown || res.Batches != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

// What was answered before a failure is not sent again, in order, and counts
// once; leading batches that are done count although a later request failed.
func TestFailureInTheMiddle(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	r := newRig(t, config.LokiTarget{URL: f.URL, BatchBytes: 1024}, nil)
	var batches []*record.Batch
	var want []string
	for i := range 6 {
		lines := numbered(string(rune('a'+i%2)), 60)
		for j := range lines {
			lines[j].text += fmt.Sprint(" of ", i)
			lines[j].at = lines[j].at.Add(time.Duration(i) * time.Second)
			want = append(want, lines[j].text)
		}
		batches = append(batches, batchOf(lines...))
	}
	n := 0
	f.decide(func(w http.ResponseWriter, _ *http.Request, _ *push.PushRequest) bool {
		n++
		if n%4 != 0 {
			return true
		}
		w.WriteHeader(500)
		return false
	})
	res, _ := r.wantError(t, sinks.ClassServer, batches...)
	first := res.Batches
	total := r.untilSent(t, batches[first:]...)
	if res.Delivered+total.Delivered != 360 || first+total.Batches != 6 {
		t.Errorf("delivered %d and %d of 360 records", res.Delivered, total.Delivered)
	}
	got := slices.Clone(f.lines)
	if len(got) != len(want) {
		t.Errorf("%d lines arrived, %d were sent: what was answered is sent again", len(got), len(want))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Error("other lines arrived than were sent")
	}
	for stream := range 2 {
		last := ""
		for _, l := range f.lines {
			of := l[strings.Index(l, " of "):]
			if l[0] == byte('a'+stream) && of < last {
				t.Fatalf("%q came after batch %q", l, last)
			} else if l[0] == byte('a'+stream) {
				last = of
			}
		}
	}
}

// Other batches than those that failed start anew, whatever is remembered.
func TestMemoIsOfTheSameBatches(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	n := 0
	f.decide(func(w http.ResponseWriter, _ *http.Request, _ *push.PushRequest) bool {
		if n++; n != 2 {
			return true
		}
		w.WriteHeader(500)
		return false
	})
	r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
	two := append(numbered("a", 10), numbered("b", 10)...)
	r.wantError(t, sinks.ClassServer, batchOf(two...)) // a is answered, b is not
	r.send(t, batchOf(two...))                         // the same lines at other positions
	if len(f.lines) != 30 {
		t.Errorf("%d lines arrived, want 10 and then 20", len(f.lines))
	}
}

// A request is about batchBytes at most, whatever it is given.
func TestRequestsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	largest := 0
	f.decide(func(_ http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		largest = max(largest, req.Size())
		return true
	})
	r := newRig(t, config.LokiTarget{URL: f.URL, BatchBytes: 10000}, nil)
	lines := slices.Concat(randomLines("a", 3000), randomLines("b", 20), randomLines("c", 700))
	for range 2 {
		r.send(t, batchOf(lines...))
	}
	if largest > 14000 || largest < 9000 {
		t.Errorf("the largest request has %d bytes, want about 10,000", largest)
	}
	if len(f.lines) != 2*len(lines) {
		t.Errorf("%d lines arrived of %d", len(f.lines), 2*len(lines))
	}
	res, err := r.Send(t.Context(), []*record.Batch{batchOf(), batchOf(numbered("a", 0)...)})
	if err != nil || res.Batches != 2 || res.Delivered != 0 {
		t.Errorf("empty batches: %+v, %v", res, err)
	}
	if res, err := r.Send(t.Context(), nil); err != nil || res.Batches != 0 {
		t.Errorf("no batches: %+v, %v", res, err)
	}
}
