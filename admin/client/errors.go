package client

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
)

// Error is a refusal: what the daemon answered.
type Error struct {
	// Status is that of HTTP.
	Status int `json:"-"`
	// Code is gRPC's number: 3 invalid, 5 not found, 6 exists, 7 permission, 8 too
	// much, 9 still referenced, 10 stale, 13 internal, 14 unavailable, 16 unauthenticated.
	Code int `json:"code"`
	// Message is empty if the details say it all.
	Message string   `json:"message"`
	Details []Detail `json:"details"`

	hint string
}

// Detail is one thing that is wrong with what was sent, or odd in it.
type Detail struct {
	Object  string `json:"object"`
	Field   string `json:"field"`
	Message string `json:"message"`
}

// String returns OBJECT: FIELD: MESSAGE, without what is not known.
func (d Detail) String() string {
	var parts []string
	for _, p := range []string{d.Object, d.Field, d.Message} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// UnmarshalJSON takes a text as well, as the message.
func (d *Detail) UnmarshalJSON(text []byte) error {
	if len(text) > 0 && text[0] == '"' {
		return json.Unmarshal(text, &d.Message)
	}
	type plain Detail
	return json.Unmarshal(text, (*plain)(d))
}

// Error returns the message and, a line each, the details.
func (e *Error) Error() string {
	if e.Message == "" && len(e.Details) == 1 {
		return e.Details[0].String()
	}
	var b strings.Builder
	b.WriteString(e.Message)
	if e.Message == "" {
		fmt.Fprintf(&b, "%d things are wrong:", len(e.Details))
	}
	for _, d := range e.Details {
		b.WriteString("\n  " + d.String())
	}
	return b.String()
}

// Hint says what to do about it, or "".
func (e *Error) Hint() string { return e.hint }

// UnreachableError is a daemon that does not answer.
type UnreachableError struct {
	Err  error
	hint string
}

func (e *UnreachableError) Error() string { return e.Err.Error() }
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint says what to do about it.
func (e *UnreachableError) Hint() string { return e.hint }

// Stale reports whether err is that somebody else has changed the object meanwhile.
func Stale(err error) bool { return hasStatus(err, http.StatusPreconditionFailed) }

// NotFound reports whether err is that there is no such object.
func NotFound(err error) bool { return hasStatus(err, http.StatusNotFound) }

// Invalid reports whether err is that the object is wrong: something to correct.
func Invalid(err error) bool { return hasStatus(err, http.StatusBadRequest) }

func hasStatus(err error, status int) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == status
}

// refused makes the error of an answer that is none of 2xx.
func (c *Client) refused(r *call, resp *http.Response, body []byte) error {
	e := &Error{Status: resp.StatusCode}
	if err := json.Unmarshal(body, e); err != nil || e.Message == "" {
		// No lbshipd speaks so: what it was is not to be shown at length.
		*e = Error{Status: resp.StatusCode, Message: fmt.Sprintf("%s answers %s %s with %s", c.Endpoint(), r.method, r.url(), resp.Status)}
		if e.Status == http.StatusBadRequest && strings.HasPrefix(c.base, "http://") && strings.Contains(string(body), "HTTPS server") {
			e.hint = "It speaks TLS: ask it by https://."
			return e
		}
		if e.Status == http.StatusNotFound || e.Status/100 == 3 {
			e.hint = "Is that the admin port or socket of an lbshipd of this version? Give another one with --endpoint."
			return e
		}
	}
	if len(e.Details) > 0 && e.Details[0].String() != "" && strings.HasPrefix(e.Message, e.Details[0].String()) {
		e.Message = "" // a summary of the details
	}
	e.hint = c.hintFor(e.Status, resp.Header.Get("Retry-After"))
	return e
}

// hintFor says what to do about a status.
func (c *Client) hintFor(status int, retryAfter string) string {
	switch status {
	case http.StatusUnauthorized:
		if c.o.Token == "" {
			return "Give a token with --jwt TOKEN, --jwt @FILE or LBSHIPD_JWT, or ask as root on the node itself by its Unix socket, without --endpoint."
		}
		return "The token given (--jwt, LBSHIPD_JWT) is not taken: has it expired, or is it for another cluster? Get a new one, or ask as root on the node itself by its Unix socket, without --endpoint."
	case http.StatusForbidden:
		return "lbshipd whoami shows who you are. Ask as somebody with that role (--jwt, LBSHIPD_JWT), or as root on the node itself by its Unix socket, without --endpoint."
	case http.StatusPreconditionFailed:
		return "Somebody changed it since it was read. Get it again, look, and repeat the change."
	case http.StatusTooManyRequests:
		if retryAfter != "" {
			return "Try again in " + retryAfter + " seconds."
		}
		return "Try again in a moment."
	case http.StatusServiceUnavailable:
		return "The daemon runs, but cannot reach what holds its configuration. Nodes go on shipping by what they know. lbshipd status says more."
	}
	return ""
}

// unreachable makes the error of a request that got no answer.
func (c *Client) unreachable(err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	text, hint := c.explain(err)
	return &UnreachableError{Err: fmt.Errorf("%s: %s%w", c.Endpoint(), text, because(err)), hint: hint}
}

// unclear adds to the error of a request that was sent that nobody knows what became of it.
func (c *Client) unclear(r *call, sent bool, err error) error {
	u, ok := err.(*UnreachableError)
	if !ok || !sent || !r.writes() {
		return err
	}
	u.Err = fmt.Errorf("%w; the change may have been made or not", u.Err)
	u.hint = "lbshipd history shows whether it was made. If not, repeat it: what is there already is not changed again. " + u.hint
	return u
}

// because leaves out what net/http puts in front: method and URL.
func because(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func (c *Client) explain(err error) (text, hint string) {
	const running = "Is lbshipd running there (systemctl status lbshipd)?"
	var unknownCA x509.UnknownAuthorityError
	var otherName x509.HostnameError
	var bad x509.CertificateInvalidError
	var noTLS tls.RecordHeaderError
	var timeout net.Error
	switch {
	case c.socket != "" && errors.Is(err, fs.ErrNotExist):
		return "there is no such socket: ", running + " Its socket is DATA-DIR/admin.sock or what it was given as --admin-socket: name it with --endpoint unix:/PATH."
	case c.socket != "" && errors.Is(err, fs.ErrPermission):
		return "", "The socket is for root and for the daemon's own user: run this as root (sudo), or ask with a token: --endpoint https://HOST:PORT --jwt @FILE."
	case c.socket != "" && errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens on the socket: ", running + " The socket is left over from one that was killed, or another one is meant: --endpoint unix:/PATH."
	case errors.Is(err, syscall.ECONNREFUSED):
		return "nothing listens there: ", running + " Its admin port is what it was given as --listen; name it with --endpoint."
	case errors.As(err, &unknownCA):
		return "", "Give the CA that signs the daemon's certificate with --ca-file."
	case errors.As(err, &otherName), errors.As(err, &bad):
		return "", "Ask by a name that the daemon's certificate carries, or give the daemon a new one."
	case errors.As(err, &noTLS), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		return "", "It does not speak TLS: is http:// meant?"
	case c.socket != "" && errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer within %v: ", c.o.Timeout), "It runs and hangs, or the machine is overloaded. First lbshipd support-bundle; then systemctl kill -s ABRT lbshipd has it say where, in its log, and started again."
	case errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Sprintf("no answer within %v: ", c.o.Timeout), "Is it the right address, and is a firewall between? A longer time is given with --timeout."
	}
	return "", running
}
