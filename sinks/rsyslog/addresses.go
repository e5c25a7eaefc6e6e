package rsyslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/config"
)

// addresses are where a target can be reached: the first one is preferred, the
// others stand in for it.
//
// An address that fails is left for the next one at once, with everything that
// is not confirmed; only after all have failed does the caller back off, and
// begins with the preferred one again. An address that works is kept. While
// that is not the preferred one, a connection to the preferred one is tried in
// the background every failBackAfter, and taken by the next Send, before which
// all that was sent is confirmed.
type addresses struct {
	list          []address
	at            int // the one in use
	failBackAfter time.Duration
	watching      *watch // nil while the preferred address is in use
	used          int    // the one that was connected to last; -1: none yet
	failing       bool   // no Send has succeeded since an address failed: said once
}

// address is one of them, with the TLS that it is connected to with.
type address struct {
	text string
	tls  *tls.Config // nil without TLS
}

const defaultFailBack = 5 * time.Minute

// setAddresses takes the addresses of r; each is connected to under its own
// host's name unless serverName is given.
func (s *sink) setAddresses(r *config.RsyslogTarget) error {
	s.used = -1
	given := r.AllAddresses()
	if len(given) == 0 {
		return errors.New("rsyslog.address: is missing")
	}
	for _, text := range given {
		host, _, err := net.SplitHostPort(text)
		if err != nil {
			return fmt.Errorf("rsyslog.address: %w", err)
		}
		a := address{text: text}
		if config.UsesTLS(s.protocol) {
			if a.tls, err = tlsConfig(r, host, s.deps.Bundle); err != nil {
				return err
			}
		}
		s.list = append(s.list, a)
	}
	if s.failBackAfter = time.Duration(r.FailbackAfter); s.failBackAfter <= 0 {
		s.failBackAfter = defaultFailBack
	}
	return nil
}

// dial connects to one address.
func (s *sink) dial(ctx context.Context, a *address) (transport, error) {
	if s.protocol == "udp" {
		d, err := dialDatagram(ctx, a.text, s.timeout)
		if err != nil {
			return nil, err // not a typed nil
		}
		return d, nil
	}
	if s.isRelp() {
		r, err := dialRelp(ctx, a.text, s.timeout, a.tls, s.relpBase)
		if err != nil {
			return nil, err
		}
		return r, nil
	}
	c, err := dialStream(ctx, a.text, s.timeout, s.settle, a.tls, nil)
	if err != nil {
		return nil, err
	}
	c.start()
	return c, nil
}

// connect makes a connection if there is none that is good. One that the other
// side has closed while it was idle is no error: all it carried was confirmed.
func (s *sink) connect(ctx context.Context) error {
	a := &s.list[s.at]
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
		s.log.Info("the connection ended, connecting again", "address", a.text, "reason", why)
	}
	c, err := s.dial(ctx, a)
	if err != nil {
		return err
	}
	s.use(c)
	return nil
}

// use takes a new connection to the address in use.
func (s *sink) use(c transport) {
	s.connection = c
	if r, ok := c.(*relp); ok {
		s.enc.sent = r.base
	}
	level := slog.LevelDebug
	if s.used >= 0 && s.used != s.at {
		level = slog.LevelInfo
	}
	s.used = s.at
	s.log.Log(context.Background(), level, "connected", "address", s.list[s.at].text, "protocol", s.protocol)
	if s.deps.Using != nil {
		s.deps.Using(s.list[s.at].text)
	}
}

// failOver goes to the next address after so many were tried, and reports
// whether that is one to be tried now.
func (s *sink) failOver(err error, tried int) bool {
	if len(s.list) == 1 || errors.Is(err, syscall.EMSGSIZE) {
		return false
	}
	failed := s.list[s.at].text
	if tried == len(s.list) {
		s.at = 0
		s.stopWatching(context.Background())
		s.log.Debug("the last address failed too", "address", failed, "error", err)
		return false
	}
	s.at = (s.at + 1) % len(s.list)
	level := slog.LevelWarn
	if s.failing {
		level = slog.LevelDebug
	}
	s.failing = true
	s.log.Log(context.Background(), level, "the address failed, going to the next one", "address", failed, "error", err, "next", s.list[s.at].text)
	if s.at == 0 {
		s.stopWatching(context.Background())
	} else if s.watching == nil {
		s.watch()
	}
	return true
}

// failBack takes the preferred address if it has come back.
func (s *sink) failBack(ctx context.Context) {
	if s.watching == nil {
		return
	}
	var c transport
	select {
	case c = <-s.watching.found:
	default:
		return
	}
	s.stopWatching(ctx)
	if why := c.alive(); why != nil {
		c.abandon()
		s.watch()
		return
	}
	if s.connection != nil {
		s.connection.finish(ctx)
	}
	s.log.Info("the preferred address is back", "address", s.list[0].text, "instead of", s.list[s.at].text)
	s.at = 0
	s.use(c)
}

// watch waits for the preferred address to come back.
type watch struct {
	cancel context.CancelFunc
	found  chan transport // holds one at most
	done   chan struct{}
}

func (s *sink) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{cancel: cancel, found: make(chan transport, 1), done: make(chan struct{})}
	s.watching = w
	go func() {
		defer close(w.done)
		ticks := time.NewTicker(s.failBackAfter)
		defer ticks.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks.C:
			}
			c, err := s.dial(ctx, &s.list[0])
			if err == nil {
				w.found <- c
				return
			}
			s.log.Debug("the preferred address is not back", "address", s.list[0].text, "error", err)
		}
	}()
}

// stopWatching ends the wait for the preferred address, and what it found.
func (s *sink) stopWatching(ctx context.Context) {
	w := s.watching
	if w == nil {
		return
	}
	s.watching = nil
	w.cancel()
	<-w.done
	select {
	case c := <-w.found:
		c.finish(ctx)
	default:
	}
}
