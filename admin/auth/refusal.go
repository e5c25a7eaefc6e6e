package auth

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The codes of refusals: gRPC's numbers.
const (
	codePermission      = 7
	codeTooMany         = 8
	codeUnavailable     = 14
	codeUnauthenticated = 16
)

// Refusal is why a request is not let in. It never holds the token.
type Refusal struct {
	// Status is the HTTP status: 401, 403, 413, 429 or 503.
	Status int
	// Code is gRPC's number for it.
	Code int
	// Message says why, and what to do.
	Message string
	// RetryAfter is when to try again, with 429 and 503.
	RetryAfter time.Duration

	oauth string // error of RFC 6750 section 3.1; "" if no credentials were given
}

func (r *Refusal) Error() string { return r.Message }

func unauthenticated(message string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Code: codeUnauthenticated, Message: message}
}

func invalidToken(why string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Code: codeUnauthenticated,
		Message: "the token is refused: " + why, oauth: "invalid_token"}
}

func forbidden(message string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Code: codePermission, Message: message, oauth: "insufficient_scope"}
}

func tooMany(message string, after time.Duration) *Refusal {
	return &Refusal{Status: http.StatusTooManyRequests, Code: codeTooMany, Message: message, RetryAfter: after}
}

func unavailable(message string, after time.Duration) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Code: codeUnavailable, Message: message, RetryAfter: after}
}

// refusalBody is the body of every error of the API.
type refusalBody struct {
	Code    int        `json:"code"`
	Message string     `json:"message"`
	Details []struct{} `json:"details"`
}

// answer writes the refusal.
func (r *Refusal) answer(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	if challenge := r.challenge(); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(r.RetryAfter.Seconds()))))
	}
	w.WriteHeader(r.Status)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(refusalBody{r.Code, r.Message, []struct{}{}})
}

// challenge is the WWW-Authenticate of RFC 6750 section 3.
func (r *Refusal) challenge() string {
	if r.Status != http.StatusUnauthorized && r.Status != http.StatusForbidden {
		return ""
	}
	text := `Bearer realm="lbshipd"`
	if r.oauth != "" {
		text += `, error="` + r.oauth + `", error_description="` + describable(r.Message) + `"`
	}
	return text
}

// describable makes text one of the characters that error_description may hold.
func describable(text string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < 0x20 || c > 0x7e:
			return '?'
		}
		return c
	}, text)
}
