// Package rsyslog sends records as RFC 5424 messages over TLS (RFC 5425), TCP
// (RFC 6587) or UDP (RFC 5426).
//
// Syslog has no acknowledgement. Over TLS and TCP a batch counts as delivered
// once the receiver's kernel has acknowledged its last octet on a connection
// that is still good and has settled (see settleTime); what a receiver that is
// killed has in its socket buffer or in its own queue is beyond what this
// protocol can tell. Over UDP a batch counts as delivered once it is sent.
// Batches that were not confirmed are sent again: records may arrive twice,
// never out of order within a connection.
package rsyslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/tlsbundle"
	"github.com/lbshipd/lbshipd/record"
	"github.com/lbshipd/lbshipd/sinks"
)

const (
	// flushBytes is how much is encoded before it is written.
	flushBytes = 256 << 10
	// keepBytes is the largest buffer that is kept for the next Send.
	keepBytes = 1 << 20
	// sendBytes is how many bytes of lines one Send is given: enough to keep a
	// line busy during the wait for its confirmation, little enough that a
	// break costs few duplicates.
	sendBytes = 1 << 20
	// maxDatagram is the longest payload of a UDP datagram over IPv4: 65535
	// less the headers of IP (20) and UDP (8).
	maxDatagram = 65507

	minMessage     = 480  // RFC 5424 section 6.1: every receiver takes that much
	defaultMessage = 8096 // rsyslog's maxMessageSize; what is longer it takes for two messages
	defaultTimeout = 10 * time.Second
	defaultSDID    = "lbshipd@32473"
)

// sink is one target. It is used by one goroutine.
type sink struct {
	deps      sinks.Deps
	log       *slog.Logger
	protocol  string
	address   string
	timeout   time.Duration
	tls       *tls.Config // nil unless protocol is tls
	enc       encoder
	useFields bool

	connection transport // nil while there is none
	buf        []byte
	lengths    []int // of the messages in buf, for UDP
	ends       []batchEnd
}

// batchEnd is what Send knows of one batch.
type batchEnd struct {
	wire    int64 // its last octet's place on the connection; notWritten while that is not known
	changes [changeKinds]int
}

const notWritten = -1

// transport is a connection, or a UDP socket.
type transport interface {
	// alive reports whether the connection was good when last looked at, nil,
	// or why it is not.
	alive() error
	// write writes framed messages; message lengths matter to UDP only.
	write(ctx context.Context, frames []byte, lengths []int) error
	// written returns how many octets have been written in all.
	written() int64
	// confirmed returns up to which octet everything has been confirmed.
	confirmed() (int64, error)
	// wait waits until everything written is confirmed.
	wait(ctx context.Context) error
	// finish ends it, in good order as far as ctx allows.
	finish(ctx context.Context)
	// abandon ends it at once.
	abandon()
}

var (
	_ sinks.Factory   = New
	_ sinks.Sink      = (*sink)(nil)
	_ sinks.Batcher   = (*sink)(nil)
	_ sinks.FieldUser = (*sink)(nil)
)

// New makes the sink of t, without connecting. t.Rsyslog must be given; empty
// fields of it mean their defaults. An error names the field that is wrong.
func New(t *config.Target, d sinks.Deps) (sinks.Sink, error) {
	r := t.Rsyslog
	if r == nil {
		return nil, fmt.Errorf("target %q has no rsyslog", t.Name)
	}
	host, _, err := net.SplitHostPort(r.Address)
	if err != nil {
		return nil, fmt.Errorf("rsyslog.address: %w", err)
	}
	s := &sink{deps: d, log: d.Log, protocol: r.Protocol, address: r.Address, timeout: time.Duration(r.Timeout)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.timeout <= 0 {
		s.timeout = defaultTimeout
	}
	if s.protocol == "" {
		s.protocol = "tls"
	}
	if err := s.setEncoder(r); err != nil {
		return nil, err
	}
	if s.protocol == "tls" {
		if s.tls, err = tlsConfig(r, host, d.Bundle); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func tlsConfig(r *config.RsyslogTarget, host string, bundle *config.TLSBundle) (*tls.Config, error) {
	host, _, _ = strings.Cut(host, "%")
	o := tlsbundle.Options{Host: strings.TrimSuffix(host, "."), ServerName: r.ServerName, Fingerprints: r.Fingerprints}
	if bundle != nil {
		o.CAPem, o.CertPem, o.KeyPem = bundle.CAPem, bundle.CertPem, bundle.KeyPem.Reveal()
	} else if r.TLSBundle != "" {
		return nil, fmt.Errorf("rsyslog.tlsBundle: there is no TLS bundle %q", r.TLSBundle)
	}
	c, err := tlsbundle.Client(o)
	if err != nil && bundle != nil {
		return nil, fmt.Errorf("TLS bundle %q: %w", bundle.Name, err)
	}
	return c, err
}

func (s *sink) setEncoder(r *config.RsyslogTarget) error {
	e := &s.enc
	*e = encoder{max: int(r.MaxMessageBytes), host: s.deps.Host, appName: r.AppName, sdID: defaultSDID, second: noSecond}
	switch {
	case s.protocol == "udp":
		e.framing = datagrams
	case s.protocol == "tcp" && r.Framing == "newline":
		e.framing = newlines
	case s.protocol != "tcp" && s.protocol != "tls":
		return fmt.Errorf("rsyslog.protocol: %q is none of tls, tcp, udp", s.protocol)
	case r.Framing != "" && r.Framing != "octet-counting":
		return fmt.Errorf("rsyslog.framing: %q is none that %s has", r.Framing, s.protocol)
	}
	if e.max <= 0 {
		e.max = defaultMessage
	}
	if s.protocol == "udp" {
		e.max = min(e.max, maxDatagram)
	}
	e.setMax(e.max)
	facility := r.Facility
	if facility == "" {
		facility = "user"
	}
	var ok bool
	if e.facility, ok = config.FacilityCode(facility); !ok {
		return fmt.Errorf("rsyslog.facility: %q is none of %s", facility, strings.Join(config.Facilities(), ", "))
	}
	if r.StructuredDataID != nil {
		e.sdID = *r.StructuredDataID
	}
	for _, f := range r.StructuredData {
		if f == "*" {
			e.all = true
		}
		e.fields = append(e.fields, fieldName{f, paramName(f)})
	}
	s.useFields = len(e.fields) > 0 && e.sdID != ""
	return nil
}

// UsesFields reports whether fields are sent as structured data.
func (s *sink) UsesFields() bool { return s.useFields }

// Batching asks for batches as they come, about a megabyte at most.
func (s *sink) Batching() sinks.Batching { return sinks.Batching{Bytes: sendBytes} }

// Send writes the batches one behind the other and waits once until all of
// them are confirmed. On an error the connection is given up, and the next
// Send makes a new one.
func (s *sink) Send(ctx context.Context, batches []*record.Batch) (sinks.Result, error) {
	start := time.Now()
	s.ends = s.ends[:0]
	for range batches {
		s.ends = append(s.ends, batchEnd{wire: notWritten})
	}
	var sent int64
	whole := false // nothing is half written
	err := s.connect(ctx)
	if err == nil {
		before := s.connection.written()
		if err = s.writeAll(ctx, batches); err == nil {
			whole = true
			err = s.connection.wait(ctx)
		}
		sent = s.connection.written() - before
	}
	res := s.result(batches, err)
	res.Bytes = sent
	if err == nil {
		s.deps.Request(time.Since(start), "ok")
		return res, nil
	}
	return res, s.failed(ctx, err, whole, time.Since(start))
}

// failed gives the connection up and names the error. A connection on which
// the wait alone was interrupted stays, so that Close can end it in good order.
func (s *sink) failed(ctx context.Context, err error, whole bool, took time.Duration) error {
	ended := ctx.Err()
	if s.connection != nil && (ended == nil || !whole) {
		s.connection.abandon()
		s.connection = nil
	}
	if ended != nil {
		err = &sinks.Error{Class: sinks.ClassShutdown, Err: ended}
	} else if errors.Is(err, syscall.EMSGSIZE) && s.enc.max >= 2*minMessage {
		s.log.Warn("the network takes no datagrams of that size, messages are cut from now on",
			"maxMessageBytes", s.enc.max, "now", s.enc.max/2)
		s.enc.setMax(s.enc.max / 2)
	}
	var known *sinks.Error
	if errors.As(err, &known) {
		s.deps.Request(took, known.Class)
	}
	return err
}

// connect makes a connection if there is none that is good. One that the other
// side has closed while it was idle is no error: all it carried was confirmed.
func (s *sink) connect(ctx context.Context) error {
	if s.connection != nil {
		why := s.connection.alive()
		if why == nil {
			return nil
		}
		s.connection.abandon()
		s.connection = nil
		if s.protocol == "udp" {
			return why // what was sent last was not taken
		}
		s.log.Info("the connection ended, connecting again", "address", s.address, "reason", why)
	}
	var err error
	if s.protocol == "udp" {
		s.connection, err = dialDatagram(ctx, s.address, s.timeout)
	} else {
		s.connection, err = dialStream(ctx, s.address, s.timeout, s.tls)
	}
	if err != nil {
		s.connection = nil // not a typed nil
		return err
	}
	s.log.Debug("connected", "address", s.address, "protocol", s.protocol)
	return nil
}

// writeAll encodes and writes the batches in large pieces.
func (s *sink) writeAll(ctx context.Context, batches []*record.Batch) error {
	if cap(s.buf) > keepBytes {
		s.buf = nil
	}
	done := 0 // batches whose end is known
	buf, lengths := s.buf[:0], s.lengths[:0]
	defer func() { s.buf, s.lengths = buf[:0], lengths[:0] }()
	flush := func(encoded int) error {
		if err := s.connection.write(ctx, buf, lengths); err != nil {
			return err
		}
		buf, lengths = buf[:0], lengths[:0]
		for ; done < encoded; done++ {
			s.ends[done].wire = s.connection.written()
		}
		return nil
	}
	for i, b := range batches {
		s.enc.nextBatch()
		for j := range b.Records {
			before := len(buf)
			var did changes
			buf, did = s.enc.append(buf, b.Origin, &b.Records[j])
			if did != 0 {
				s.ends[i].count(did)
			}
			if s.enc.framing == datagrams {
				lengths = append(lengths, len(buf)-before)
			}
			if len(buf) >= flushBytes {
				if err := flush(i); err != nil {
					return err
				}
			}
		}
	}
	return flush(len(batches))
}

func (b *batchEnd) count(did changes) {
	for k := range b.changes {
		if did&(1<<k) != 0 {
			b.changes[k]++
		}
	}
}

// result says which leading batches are confirmed: all without an error, else
// those that were when the connection was last known to be good.
func (s *sink) result(batches []*record.Batch, err error) sinks.Result {
	var res sinks.Result
	var upTo int64
	if err != nil {
		if s.connection == nil {
			return res
		}
		upTo, _ = s.connection.confirmed()
	}
	var did [changeKinds]int
	for i, b := range batches {
		if err != nil && (s.ends[i].wire == notWritten || s.ends[i].wire > upTo) {
			break
		}
		res.Batches++
		res.Delivered += len(b.Records)
		for k := range did {
			did[k] += s.ends[i].changes[k]
		}
	}
	for k, n := range did {
		if n > 0 {
			s.deps.Note(changeReasons[k], n)
		}
	}
	return res
}

// Close says goodbye: over TLS with a close_notify.
func (s *sink) Close(ctx context.Context) error {
	if s.connection != nil {
		s.connection.finish(ctx)
		s.connection = nil
	}
	return nil
}
