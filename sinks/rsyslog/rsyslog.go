// Package rsyslog sends records as RFC 5424 messages over TLS (RFC 5425), TCP
// (RFC 6587), UDP (RFC 5426), or RELP, plain or over TLS.
//
// Over RELP a batch counts as delivered once the server has answered each of
// its messages. Plain syslog has no acknowledgement. Over TLS and TCP a batch counts as delivered
// once the receiver's kernel has acknowledged its last octet on a connection
// that is still good and has settled (see settleTime); what a receiver that is
// killed has in its socket buffer or in its own queue is beyond what this
// protocol can tell. Over UDP a batch counts as delivered once it is sent.
// Batches that were not confirmed are sent again: records may arrive twice,
// never out of order within a connection.
//
// Of several addresses one is used at a time; see addresses.go.
package rsyslog

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/tlsbundle"
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
	name      string // of the target
	deps      sinks.Deps
	log       *slog.Logger
	protocol  string
	timeout   time.Duration
	settle    time.Duration // settleTime, but for tests that must not depend on how soon a server refuses
	enc       encoder
	useFields bool
	addresses
	relpBase int64 // where RELP's transaction numbers start

	connection transport // nil while there is none
	held       int       // RELP: the message of the next Send that is sent alone; -1: none
	head       answeredHead
	buf        []byte
	lengths    []int // of the messages in buf, for UDP
	ends       []batchEnd
}

// batchEnd is what Send knows of one batch.
type batchEnd struct {
	wire    int64 // its end's place on the connection; notWritten while that is not known
	changes [changeKinds]int
}

const notWritten = -1

// transport is a connection, or a UDP socket.
type transport interface {
	// alive reports whether the connection was good when last looked at, nil,
	// or why it is not.
	alive() error
	// write writes framed messages; message lengths matter to UDP and RELP only.
	write(ctx context.Context, frames []byte, lengths []int) error
	// written returns how many octets have been written in all.
	written() int64
	// place returns where on the connection what is written next will be: a
	// number of octets, or of messages.
	place() int64
	// confirmed returns up to which place everything has been confirmed.
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
	s := &sink{name: t.Name, deps: d, log: d.Log, protocol: r.Protocol, timeout: time.Duration(r.Timeout), settle: settleTime, held: -1}
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
	if err := s.setAddresses(r); err != nil {
		return nil, err
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
	known := config.RsyslogProtocols()
	switch {
	case !slices.Contains(known, s.protocol):
		return fmt.Errorf("rsyslog.protocol: %q is none of %s", s.protocol, strings.Join(known, ", "))
	case s.protocol == "udp":
		e.framing = datagrams
	case s.protocol == "tcp" && r.Framing == "newline":
		e.framing = newlines
	case r.Framing != "" && r.Framing != "octet-counting":
		return fmt.Errorf("rsyslog.framing: %q is none that %s has", r.Framing, s.protocol)
	}
	if s.isRelp() {
		e.framing = relpFrames
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

func (s *sink) isRelp() bool { return s.protocol == "relp" || s.protocol == "relp-tls" }

// Close says goodbye: over TLS with a close_notify, over RELP with close.
func (s *sink) Close(ctx context.Context) error {
	s.stopWatching(ctx)
	if s.connection != nil {
		s.connection.finish(ctx)
		s.connection = nil
	}
	return nil
}
