package rsyslog

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/tlsbundle"
	"github.com/lbshipd/lbshipd/sinks"
)

// reasonTime is how long a failed write waits for the reader to find out why:
// the alert that says it lies before the reset in the socket.
const reasonTime = 200 * time.Millisecond

// errClosed is the reason when the kernel knows that the other side closed but
// the reader has not said how.
var errClosed = errors.New("the server closed the connection")

// localErrnos are failures of this side.
var localErrnos = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM,
}

func isLocal(err error) bool {
	for _, e := range localErrnos {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

func localError(err error) error { return &sinks.Error{Class: sinks.ClassLocal, Err: err} }

func isTimeout(err error) bool {
	var t net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) ||
		errors.Is(err, syscall.ETIMEDOUT) || errors.As(err, &t) && t.Timeout()
}

// dialError classes a failure to connect.
func dialError(err error) error {
	var dns *net.DNSError
	class := sinks.ClassConnect
	switch {
	case errors.As(err, &dns):
		class = sinks.ClassResolve
	case isTimeout(err):
		class = sinks.ClassTimeout
	case isLocal(err):
		class = sinks.ClassLocal
	}
	return &sinks.Error{Class: class, Err: err}
}

// handshakeError classes a failure of the handshake, which ctx limits.
func handshakeError(ctx context.Context, err error, shown tlsbundle.Shown) error {
	if ctx.Err() != nil || isTimeout(err) {
		return &sinks.Error{Class: sinks.ClassTimeout, Err: fmt.Errorf("no answer to the TLS handshake: %w", err)}
	}
	return &sinks.Error{Class: sinks.ClassTLS, Err: fmt.Errorf("TLS handshake: %w", tlsbundle.Explain(err, shown))}
}

// broken says why the connection is not good: by what the reader found, which
// may be an alert, else by the error of a write.
func (s *stream) broken(write error) error {
	timer := time.NewTimer(reasonTime)
	defer timer.Stop()
	var err error
	if errors.Is(write, os.ErrDeadlineExceeded) {
		return s.noProgress()
	}
	select {
	case <-s.dead:
		err = s.why
	case <-timer.C:
		if err = write; err == nil {
			err = errClosed
		}
	}
	var known *sinks.Error
	serverClose := errors.Is(err, errServerClose)
	switch {
	case s.tls && tlsbundle.IsAlert(err):
		return &sinks.Error{Class: sinks.ClassTLS, Err: tlsbundle.Explain(err, s.shown)}
	case s.tls && s.shown.Asked && !s.hasSettled() && (tlsbundle.IsClosed(err) || err == errClosed || serverClose):
		// It was open for too short a time to have been broken by chance. librelp
		// with OpenSSL says serverclose when it does not like our certificate.
		return &sinks.Error{Class: sinks.ClassTLS, Err: fmt.Errorf("right after the TLS handshake: %w", tlsbundle.Explain(closed(err), s.shown))}
	case errors.As(err, &known):
		return err // the reader has said it all
	case isTimeout(err):
		return &sinks.Error{Class: sinks.ClassTimeout, Err: err}
	case tlsbundle.IsClosed(err):
		return &sinks.Error{Class: sinks.ClassBroken, Err: fmt.Errorf("%w (%w)", errClosed, err)}
	}
	return &sinks.Error{Class: sinks.ClassBroken, Err: err}
}

// closed makes errClosed something that Explain knows.
func closed(err error) error {
	if err == errClosed || errors.Is(err, errServerClose) {
		return syscall.ECONNRESET
	}
	return err
}

func (s *stream) hasSettled() bool {
	return !s.settled.IsZero() && !time.Now().Before(s.settled)
}

func (s *stream) noProgress() error {
	return &sinks.Error{Class: sinks.ClassTimeout, Err: fmt.Errorf("the server has taken nothing for %v", s.timeout)}
}
