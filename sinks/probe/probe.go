// Package probe takes those steps of a target's test that are the same whatever
// the target speaks: the host's name, the connections, and what is said of them.
package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/oneline"
	"github.com/lbshipd/lbshipd/sinks"
)

// Limits of a test.
const (
	// maxAddresses is how many addresses of one name are connected to.
	maxAddresses = 16
	// maxMessage is the longest message of a step, in bytes.
	maxMessage = 1 << 10
)

// minSecret is how long a secret must be to be looked for, in bytes: a shorter
// one is in too many words.
const minSecret = 4

// hidden is what is written in place of a secret.
const hidden = "(hidden)"

// Steps gathers the steps that were taken with one address. It is used by one
// goroutine.
type Steps struct {
	Timeout time.Duration // of each step
	Hide    []string      // secrets, which are in no message, whoever says them

	about string
	list  []sinks.Step
}

// New begins a test. Messages begin with about, the address, unless it is empty.
func New(about string, timeout time.Duration) *Steps {
	return &Steps{Timeout: timeout, about: about}
}

// List returns what was done.
func (s *Steps) List() []sinks.Step { return s.list }

// Do takes one step, and reports whether it went well: do says what it found,
// or what is wrong. Its context ends with the time limit.
func (s *Steps) Do(ctx context.Context, name string, do func(context.Context) (string, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	start := time.Now()
	text, err := do(ctx)
	return s.Add(name, text, err, time.Since(start))
}

// Add notes a step that was taken: text says what was found, err what is wrong.
func (s *Steps) Add(name, text string, err error, took time.Duration) bool {
	if err != nil {
		text = err.Error()
	}
	s.list = append(s.list, sinks.Step{Name: name, OK: err == nil, Message: s.message(text), Cause: causeOf(err), Seconds: took.Seconds()})
	return err == nil
}

// Fail makes a step that seemed to have gone well, the last one of that name,
// one that did not.
func (s *Steps) Fail(name string, err error) {
	for i := len(s.list) - 1; i >= 0; i-- {
		if step := &s.list[i]; step.Name == name {
			step.OK, step.Cause = false, causeOf(err)
			step.Message = s.message(err.Error() + "; before that: " + strings.TrimPrefix(step.Message, s.prefix()))
			return
		}
	}
}

func (s *Steps) prefix() string {
	if s.about == "" {
		return ""
	}
	return s.about + ": "
}

func (s *Steps) message(text string) string { return Clean(s.prefix() + s.Without(text)) }

// Without returns text without the secrets. What is to be cut goes through it
// first: half a secret would not be found.
func (s *Steps) Without(text string) string { return Without(text, s.Hide) }

// Without returns text without the secrets.
func Without(text string, secrets []string) string {
	for _, secret := range secrets {
		if len(secret) >= minSecret {
			text = strings.ReplaceAll(text, secret, hidden)
		}
	}
	return text
}

// Clean makes one line of text, which somebody else may have written: no
// control characters, valid UTF-8, at most 1 KiB.
func Clean(text string) string { return oneline.Of(text, maxMessage) }

// Resolve finds the addresses of a host, which may be one itself.
func (s *Steps) Resolve(ctx context.Context, host string) (list []netip.Addr, ok bool) {
	ok = s.Do(ctx, sinks.StepDNS, func(ctx context.Context) (string, error) {
		if ip, err := netip.ParseAddr(host); err == nil {
			list = []netip.Addr{ip}
			return host + " is an address: there is nothing to look up", nil
		}
		found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return "", explainDNS(host, err)
		}
		var names []string
		for _, ip := range found {
			if ip = ip.Unmap(); !slices.Contains(list, ip) {
				list, names = append(list, ip), append(names, ip.String())
			}
		}
		text := host + " has " + plural(len(list), "address", "addresses") + ": "
		if len(list) > maxAddresses {
			list, names = list[:maxAddresses], append(names[:maxAddresses], "and more, which are not tested")
		}
		return text + strings.Join(names, ", "), nil
	})
	return list, ok
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func explainDNS(host string, err error) error {
	var d *net.DNSError
	if !errors.As(err, &d) {
		return fmt.Errorf("looking up %s: %w", host, err)
	}
	return Because(sinks.CauseName, dnsWords(host, d))
}

func dnsWords(host string, d *net.DNSError) error {
	asked := ""
	if d.Server != "" {
		asked = " (asked " + d.Server + ")"
	}
	switch {
	case d.IsNotFound:
		return fmt.Errorf("there is no address for the name %q%s: is it misspelt, or unknown to this machine's name servers (/etc/resolv.conf)?", host, asked)
	case d.IsTimeout:
		return fmt.Errorf("looking up %s: no name server answers%s", host, asked)
	}
	return fmt.Errorf("looking up %s%s: %s", host, asked, d.Err)
}

// Connect connects to each of the addresses, all at once, and keeps the
// connection to the first of them that takes one: what the sink would use. It went well
// if there is one.
func (s *Steps) Connect(ctx context.Context, list []netip.Addr, port string) (*net.TCPConn, bool) {
	var kept net.Conn
	ok := s.Do(ctx, sinks.StepTCP, func(ctx context.Context) (string, error) {
		conns, errs := make([]net.Conn, len(list)), make([]error, len(list))
		var wg sync.WaitGroup
		for i, ip := range list {
			wg.Go(func() {
				conns[i], errs[i] = new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(ip.String(), port))
			})
		}
		wg.Wait()
		var said []string
		var last error
		for i, ip := range list {
			address := net.JoinHostPort(ip.String(), port)
			switch {
			case errs[i] != nil:
				last = s.explainDial(ctx, errs[i])
				said = append(said, address+": "+last.Error())
			case kept == nil:
				kept = conns[i]
				said = append(said, address+": connected")
			default:
				conns[i].Close()
				said = append(said, address+": connected")
			}
		}
		text := strings.Join(said, "; ")
		if kept == nil {
			return "", Because(causeOf(last), errors.New(text))
		}
		return text, nil
	})
	if !ok {
		return nil, false
	}
	return kept.(*net.TCPConn), true
}

func (s *Steps) explainDial(ctx context.Context, err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err // without the addresses, which we say ourselves
	}
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return Because(sinks.CauseRefused, errors.New("connection refused: nobody listens on that port, or a firewall rejects it"))
	case errors.Is(err, context.Canceled):
		return errors.New("the test was ended")
	case errors.As(err, &timeout) && timeout.Timeout(), ctx.Err() != nil:
		return Because(sinks.CauseUnreachable, fmt.Errorf("no answer within %s: the host is down, or a firewall drops what is sent to it", s.Timeout))
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return Because(sinks.CauseUnreachable, fmt.Errorf("this machine has no way there: %w", err))
	}
	return err
}

// Line is the text of a test's record.
func Line(host, target, by string) string {
	if by == "" {
		by = "somebody"
	}
	return Clean(fmt.Sprintf("lbshipd test record: %s has the target %s tested from %s. Nothing has happened; this line may be ignored.", by, target, host))
}

// Source is the source and application of a test's record.
const Source = "lbshipd-test"
