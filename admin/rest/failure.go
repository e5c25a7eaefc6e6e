package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"

	"github.com/lbshipd/lbshipd/config"
)

// The codes of errors: those of gRPC (google.rpc.Code).
const (
	CodeInvalidArgument    = 3
	CodeNotFound           = 5
	CodeAlreadyExists      = 6
	CodePermissionDenied   = 7
	CodeResourceExhausted  = 8
	CodeFailedPrecondition = 9
	CodeAborted            = 10
	CodeInternal           = 13
	CodeUnavailable        = 14
	CodeUnauthenticated    = 16
)

// Error is the body of every answer that is not of 2xx or 304.
type Error struct {
	// One of gRPC's code numbers: 3 invalid, 5 not found, 6 exists, 7 not allowed, 8 too large, 9 not in this state (still referenced), 10 changed meanwhile, 13 internal, 14 unavailable, 16 unauthenticated.
	Code int `json:"code"`
	// What is wrong, for people.
	Message string `json:"message"`
	// Each thing that is wrong, if it can be told apart.
	Details []Detail `json:"details"`
}

// Detail is one thing that is wrong, or odd.
type Detail struct {
	// The object, such as target "siem".
	Object string `json:"object,omitempty"`
	// The field, such as rsyslog.address, or the place in the body.
	Field string `json:"field,omitempty"`
	// What is wrong with it.
	Message string `json:"message"`
}

// failure is an Error and how it is sent.
type failure struct {
	status  int
	Code    int
	Message string
	Details []Detail
}

func (f *failure) Error() string { return f.Message }

// errPanicked stands for a panic that was logged.
var errPanicked = errors.New("panic")

func invalid(format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, Code: CodeInvalidArgument, Message: fmt.Sprintf(format, args...)}
}

func notFound(format string, args ...any) *failure {
	return &failure{status: http.StatusNotFound, Code: CodeNotFound, Message: fmt.Sprintf(format, args...)}
}

func unmet(format string, args ...any) *failure {
	return &failure{status: http.StatusConflict, Code: CodeFailedPrecondition, Message: fmt.Sprintf(format, args...)}
}

// errPrecondition is the answer to a condition of the request that does not hold.
func preconditionFailed(format string, args ...any) *failure {
	return &failure{status: http.StatusPreconditionFailed, Code: CodeAborted, Message: fmt.Sprintf(format, args...)}
}

// statuses say how each error of a Store is answered. What is wrong inside is
// not for the client: those without "tell" are logged.
var statuses = []struct {
	err          error
	status, code int
	tell         bool
}{
	{config.ErrNotFound, http.StatusNotFound, CodeNotFound, true},
	{config.ErrExists, http.StatusConflict, CodeAlreadyExists, true},
	{config.ErrStale, http.StatusConflict, CodeAborted, true},
	{config.ErrReferenced, http.StatusConflict, CodeFailedPrecondition, true},
	{config.ErrReadOnly, http.StatusConflict, CodeFailedPrecondition, true},
	{config.ErrUnavailable, http.StatusServiceUnavailable, CodeUnavailable, false},
	{context.DeadlineExceeded, http.StatusServiceUnavailable, CodeUnavailable, false},
	{context.Canceled, http.StatusServiceUnavailable, CodeUnavailable, false},
}

// failure says how an error is answered.
func (c *call) failure(err error) *failure {
	var f *failure
	if errors.As(err, &f) {
		return f
	}
	for _, s := range statuses {
		switch {
		case !errors.Is(err, s.err):
		case s.tell && s.err == config.ErrStale && c.conditional():
			return preconditionFailed("%s", summary(detailsOf(err)))
		case s.tell:
			details := detailsOf(err)
			return &failure{status: s.status, Code: s.code, Message: summary(details), Details: details}
		default:
			c.Log.Warn("the API cannot reach what it needs", "request", c.id, "path", c.r.URL.Path, "error", err)
			return &failure{status: s.status, Code: s.code, Message: c.unreached(err)}
		}
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		details := detailsOf(err)
		return &failure{status: http.StatusBadRequest, Code: CodeInvalidArgument, Message: summary(details), Details: details}
	}
	if !errors.Is(err, errPanicked) {
		c.Log.Error("a request to the API failed", "request", c.id, "method", c.r.Method, "path", c.r.URL.Path, "error", err)
	}
	return &failure{status: http.StatusInternalServerError, Code: CodeInternal,
		Message: "something went wrong inside; the daemon's log says what under request " + c.id}
}

// unreached says that the Store was not reached, and what is known of the change that was to be made.
func (c *call) unreached(err error) string {
	text := config.ErrUnavailable.Error() + " now"
	switch {
	case c.r.Method == http.MethodGet || c.query.is(paramDryRun, false):
		text += ": try again later"
	case !c.told || errors.Is(err, config.ErrUnavailable) && !errors.Is(err, config.ErrUnclear):
		text += ", and nothing was changed: try again later"
	default:
		text += ", and the change may have been made or not: look at /history or at the object before you repeat it"
	}
	return text + ". What runs goes on (the daemon's log says more under request " + c.id + ")"
}

// detailsOf returns each thing that an error says: the errors that it joins, and
// the Problems among them.
func detailsOf(err error) []Detail {
	if joined, ok := err.(interface{ Unwrap() []error }); ok && err.Error() == errors.Join(joined.Unwrap()...).Error() {
		var out []Detail
		for _, e := range joined.Unwrap() {
			out = append(out, detailsOf(e)...)
		}
		return out
	}
	var problems config.Problems
	if errors.As(err, &problems) {
		return details(problems)
	}
	return []Detail{{Message: err.Error()}}
}

// details writes Problems without the line if the body had none worth telling.
func details(problems config.Problems) []Detail {
	out := make([]Detail, 0, len(problems))
	for _, p := range problems {
		d := Detail{Object: p.Object, Field: p.Field, Message: p.Message}
		if p.File == yamlBody && p.Line > 0 {
			d.Message += fmt.Sprintf(" (line %d)", p.Line)
		} else if filepath.IsAbs(p.File) && p.Line > 0 { // what the node has, not what was sent
			d.Message += fmt.Sprintf(" (%s:%d)", p.File, p.Line)
		}
		out = append(out, d)
	}
	return out
}

// summary says the first problem, and how many more there are.
func summary(details []Detail) string {
	if len(details) == 0 {
		return "not valid"
	}
	first := config.Problem{Object: details[0].Object, Field: details[0].Field, Message: details[0].Message}.String()
	if more := len(details) - 1; more > 0 {
		return fmt.Sprintf("%s (and %d more, see details)", first, more)
	}
	return first
}

func (f *failure) write(w http.ResponseWriter) {
	if f.status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfterSeconds))
	}
	body := Error{Code: f.Code, Message: f.Message, Details: f.Details}
	if body.Details == nil {
		body.Details = []Detail{}
	}
	text, err := marshal(body)
	if err != nil { // three texts and a number: cannot be
		text = []byte(`{"code":13,"message":"the error cannot be written","details":[]}`)
	}
	send(w, f.status, text)
}

// retryAfterSeconds is when a client may ask again after 503.
const retryAfterSeconds = 2
