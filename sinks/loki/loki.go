// Package loki pushes records to Grafana Loki: POST /loki/api/v1/push, protobuf
// with snappy.
//
// # Layers
//
//	loki.go        New, Send: batches become groups that are answered in full
//	streams.go     which stream a record belongs to, and what is known of it
//	attributes.go  what of a record becomes a label or structured metadata
//	labels.go      label sets: valid names and values, within Loki's limits
//	encode.go      the protobuf
//	deliver.go     requests, and what follows from their answers
//	answer.go      what Loki's words mean
//	refused.go     which records it refused, and whose they are
//	client.go      HTTP, TLS, credentials, classes of errors
package loki

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

// Version is sent as User-Agent "lbshipd/VERSION". The program sets it before
// it makes the first sink.
var Version = "dev"

const (
	defaultBatchBytes = 1 << 20
	defaultTimeout    = 10 * time.Second
)

var (
	_ sinks.Sink      = (*Sink)(nil)
	_ sinks.Batcher   = (*Sink)(nil)
	_ sinks.FieldUser = (*Sink)(nil)
	_ sinks.Factory   = New
)

// Sink sends to one Loki target. It is used by one goroutine.
//
// Life: New; Send any number of times; Close.
type Sink struct {
	name       string // of the target
	deps       sinks.Deps
	batching   sinks.Batching
	maxRequest int // encoded entries of one request, in bytes; about

	targetLabels []record.Label // sorted by name
	streamAttrs  []attribute
	streamNames  []string // the label names of streamAttrs
	metadata     metadata

	client  *client
	streams streams
	group   group
	memo    memo
	now     func() time.Time // for tests

	// sizeCap and rateCap are what a request may hold until the target shows
	// that it takes more; see deliver.go.
	sizeCap, rateCap int
	stuck            stuck
	sent             int64 // bytes on the wire in this Send
	vouched          bool  // in this Send: Loki itself answers at the URL

	push, packed []byte // buffers of the request
}

// New makes the sink of a validated target with loki set. It does not
// connect. Errors name the target and the setting.
func New(t *config.Target, d sinks.Deps) (sinks.Sink, error) {
	c := t.Loki
	if c == nil {
		return nil, fmt.Errorf("target %s: loki is not set", t.Name)
	}
	s := &Sink{
		name: t.Name,
		deps: d,
		now:  time.Now,
		batching: sinks.Batching{
			Bytes: int(cmp.Or(c.BatchBytes, defaultBatchBytes)),
			Wait:  time.Duration(c.BatchWait),
		},
		metadata: newMetadata(c.StructuredMetadata),
	}
	// A batch that is a little larger than asked for is still one request.
	s.maxRequest = s.batching.Bytes + s.batching.Bytes/4
	s.sizeCap, s.rateCap = s.maxRequest, s.maxRequest
	for name, value := range c.Labels {
		s.targetLabels = append(s.targetLabels, record.Label{Name: name, Value: value})
	}
	slices.SortFunc(s.targetLabels, func(a, b record.Label) int { return cmp.Compare(a.Name, b.Name) })
	names := c.StreamLabels
	if names == nil {
		names = StreamLabels()
	}
	for _, name := range names {
		if !slices.Contains(StreamLabels(), name) {
			return nil, fmt.Errorf("target %s: streamLabels: %q is not one of %v", t.Name, name, StreamLabels())
		}
		if !slices.Contains(s.streamNames, name) {
			s.streamNames = append(s.streamNames, name)
			s.streamAttrs = append(s.streamAttrs, attributes[name])
		}
	}
	s.streams.init(s.streamAttrs)
	var err error
	if s.client, err = newClient(t, &d); err != nil {
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return s, nil
}

// Batching implements sinks.Batcher.
func (s *Sink) Batching() sinks.Batching { return s.batching }

// UsesFields implements sinks.FieldUser.
func (s *Sink) UsesFields() bool { return s.metadata.usesFields() }

// Close implements sinks.Sink. Nothing is buffered: what was not answered was
// not acknowledged.
func (s *Sink) Close(context.Context) error {
	s.client.http.CloseIdleConnections()
	return nil
}

// Send implements sinks.Sink. Batches are sent in groups of about batchBytes;
// a group is answered in full or not at all. Within a stream the order of the
// records is kept: a record is sent only after those before it were answered.
func (s *Sink) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	var res sinks.Result
	s.sent, s.vouched = 0, false
	s.streams.forgetPointers()
	defer s.group.forget()
	for res.Batches < len(batches) {
		s.streams.trim()
		n := s.fill(batches[res.Batches:])
		err := s.deliver(ctx)
		res.Bytes = s.sent
		if err != nil {
			s.memo.keep(&s.group)
			return res, err
		}
		s.memo.clear()
		s.keepLetters()
		res.Batches += n
		res.Delivered += s.group.delivered
		for _, t := range s.group.refused {
			res.Refused = addRefusal(res.Refused, t)
		}
	}
	return res, nil
}

// group is the leading batches that are being sent, taken apart by stream.
type group struct {
	number    uint64
	batches   []*record.Batch
	streams   []*stream // in the order of their first records
	bytes     int
	delivered int
	refused   []tally
	letters   []letter // who was refused; only if Deps.DeadLetter wants to know
}

// fill makes the next group of the leading batches, at least one, and returns
// how many it took. After a failure it makes the same group as before, so that
// what was answered then is not sent again.
func (s *Sink) fill(batches []*record.Batch) int {
	g := &s.group
	g.forget()
	g.number++
	again := s.memo.matches(batches)
	for _, b := range batches {
		if again > 0 && len(g.batches) == again {
			break
		}
		if again == 0 && g.bytes >= s.batching.Bytes {
			break
		}
		g.batches = append(g.batches, b)
		invalid := 0
		for i := range b.Records {
			r := &b.Records[i]
			st := s.streamOf(b.Origin, r)
			if st.group != g.number {
				st.group, st.done = g.number, 0
				st.refs = st.refs[:0]
				g.streams = append(g.streams, st)
			}
			f := s.metadata.newRef(b.Origin, r)
			if f.bad {
				invalid++
			}
			st.refs = append(st.refs, f)
			g.bytes += entryLen(f.size)
		}
		if invalid > 0 && again == 0 {
			s.deps.Note(invalidLine, invalid)
		}
	}
	if again > 0 {
		s.memo.restore(g)
	}
	return len(g.batches)
}

// maxKeptRefs bounds the slots that an idle stream keeps.
const maxKeptRefs = 1024

// forget lets go of the group's records.
func (g *group) forget() {
	for _, st := range g.streams {
		clear(st.refs)
		st.refs = st.refs[:0]
		if cap(st.refs) > maxKeptRefs && len(g.streams) > 16 {
			st.refs = nil
		}
	}
	clear(g.batches)
	g.batches, g.streams = g.batches[:0], g.streams[:0]
	g.bytes, g.delivered, g.refused, g.letters = 0, 0, nil, nil
}

// statusError is an answer that is no answer for the lines.
func statusError(class string, a *answer, url string) error {
	detail := a.words(a.body)
	if to := a.header.Get("Location"); to != "" {
		detail = "redirects to " + a.words(to)
	}
	if detail == "" {
		detail = http.StatusText(a.status)
	}
	return &sinks.Error{Class: class, Err: fmt.Errorf("pushing to %s: HTTP %d: %s", url, a.status, detail)}
}
