// Package sinks holds the contract between the pipeline and a target.
package sinks

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/record"
)

// Sink sends batches to one target. It is used by one goroutine, and keeps the
// order of what it is given, stream by stream.
//
// Life: a factory makes it from a validated Target, without connecting; Send
// connects when it must; Close ends it.
type Sink interface {
	// Send sends the batches and returns once the target has answered for
	// them. On an error, Result.Batches says how many leading batches were
	// answered in full all the same; the caller sends the others again, for
	// ever, with back-off. Send never returns an error for what the target
	// will never take: that is counted as refused.
	Send(ctx context.Context, batches []*record.Batch) (Result, error)
	// Close says goodbye within ctx and frees the connection.
	Close(ctx context.Context) error
}

// Batching says how much of a queue one Send should be given.
type Batching struct {
	Bytes int           // about this many bytes of lines; 0: whatever is queued
	Wait  time.Duration // how long to wait for that many; 0: not at all
}

// Batcher is implemented by sinks that want their batches gathered.
type Batcher interface{ Batching() Batching }

// FieldUser is implemented by sinks that can say whether they use
// record.Record.Fields; formats do not take fields out when no target does.
type FieldUser interface{ UsesFields() bool }

// Result is the target's answer for the leading batches that are done.
type Result struct {
	Batches   int       // leading batches that are answered in full
	Delivered int       // records of those that the target took
	Refused   []Refusal // records of those that it will never take
	Bytes     int64     // bytes sent on the wire for all of it
}

// Refusal counts records of one source that a target refused for good.
type Refusal struct {
	Source  string // Origin.Source of the records: the ledger is kept by source
	Reason  string // a short, bounded word: a metric label value
	Records int
	Detail  string // the target's own words, cut to 1 KiB
}

// RefusedRecords is the sum over all refusals.
func (r *Result) RefusedRecords() int {
	n := 0
	for _, f := range r.Refused {
		n += f.Records
	}
	return n
}

// Error is a failure that can pass. Class is a metric label value, one of
// ErrorClasses.
type Error struct {
	Class      string
	RetryAfter time.Duration // the target's own wish, 0 if it has none
	Err        error
}

func (e *Error) Error() string { return fmt.Sprintf("%s: %v", e.Class, e.Err) }
func (e *Error) Unwrap() error { return e.Err }

// The classes of Error.
const (
	ClassResolve  = "resolve"      // the name has no address
	ClassConnect  = "connect"      // TCP connect refused, unreachable
	ClassTLS      = "tls"          // handshake or certificate refused, by either side
	ClassTimeout  = "timeout"      // no answer in time
	ClassBroken   = "broken"       // an established connection broke
	ClassServer   = "server_error" // HTTP 5xx
	ClassLimited  = "rate_limited" // HTTP 429
	ClassAuth     = "auth"         // HTTP 401, 403
	ClassHTTP     = "http_other"   // any other HTTP status that is not final for the lines
	ClassLocal    = "local"        // a file, credential or socket on this side
	ClassShutdown = "shutdown"     // the context ended first
)

// ErrorClasses lists every Class.
func ErrorClasses() []string {
	return []string{ClassResolve, ClassConnect, ClassTLS, ClassTimeout, ClassBroken, ClassServer,
		ClassLimited, ClassAuth, ClassHTTP, ClassLocal, ClassShutdown}
}

// Deps is what the pipeline gives to a sink.
type Deps struct {
	Log  *slog.Logger
	Host string // this node's name
	// Bundle is the TLS bundle that the target names, nil if none.
	Bundle *config.TLSBundle
	// Request observes one request to the target: how long the answer took and
	// the outcome ("ok" or an Error class). Never nil.
	Request func(took time.Duration, outcome string)
	// DeadLetter keeps record i of b, which the target refused for good. It is
	// called once for each of them, before the Result that counts it is returned. Nil unless
	// the target's refused records are to be kept: then the sink has to find out which they are.
	DeadLetter func(b *record.Batch, i int, reason, detail string)
	// Using says which of a target's addresses is connected to from now on. Nil
	// if nobody wants to know.
	Using func(address string)
	// Note counts an adjustment made to records so that the target takes them
	// (a cut message, a label made valid), by reason. Never nil.
	Note func(reason string, n int)
}

// Factory makes a sink.
type Factory func(t *config.Target, d Deps) (Sink, error)
