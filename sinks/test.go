package sinks

import "context"

// Tester is implemented by sinks that can test their target.
type Tester interface {
	// Test connects, authenticates, and sends one record that says that it is a
	// test and that by asked for it. It says what it found at each step, and goes no further where a
	// step fails. Each step takes at most the target's timeout; ctx bounds it all. The
	// sink must be one that was made for the test and sends nothing else. No secret is in what it says.
	Test(ctx context.Context, by string) []Step
	// Probe is Test without the record: nothing that the target would store is sent. What only a
	// record could tell stays unknown.
	Probe(ctx context.Context) []Step
}

// Step is one step of a test.
type Step struct {
	// Name is one of those below.
	Name string `json:"name"`
	OK   bool   `json:"ok"`
	// Message says what was found, or what is wrong, in words; one line. Where a target has
	// several addresses it begins with the one that it is about.
	Message string  `json:"message"`
	Cause   string  `json:"cause,omitempty"` // of a step that is not OK, if it is one of those below
	Seconds float64 `json:"seconds"`         // how long it took
}

// The names of steps, in the order in which they are taken.
const (
	StepConfig = "config" // making the target of its settings, which is told only if it fails
	StepDNS    = "dns"    // addresses of the host's name
	StepTCP    = "tcp"    // a connection to each of them
	StepTLS    = "tls"    // handshake and certificates
	StepHTTP   = "http"   // Loki's answer to a push without records
	StepRELP   = "relp"   // the answer to the command open
	StepRecord = "record" // one marked record
)

// The causes of a failed step that have a remedy of their own.
const (
	CauseName        = "name"         // the host's name has no address, or no name server answers
	CauseRefused     = "refused"      // the connection is refused
	CauseUnreachable = "unreachable"  // nothing answers
	CauseExpired     = "expired"      // the server's certificate is past its end
	CauseNotYet      = "not_yet"      // the server's certificate is not valid yet
	CauseAuthority   = "authority"    // the server's certificate is of an authority that is not trusted
	CauseServerName  = "server_name"  // the server's certificate is for another name
	CauseFingerprint = "fingerprint"  // the server's certificate has another fingerprint
	CauseHandshake   = "handshake"    // the server refuses the handshake, our certificate most likely
	CauseAuth        = "auth"         // HTTP 401 or 403
	CauseLimited     = "rate_limited" // HTTP 429
	CauseNotLoki     = "not_loki"     // what answers is no push API
)

// TestReport is the outcome of a test. OK means that every step is.
type TestReport struct {
	OK    bool   `json:"ok"`
	Steps []Step `json:"steps"`
}

// NewTestReport makes a report of the steps.
func NewTestReport(steps []Step) TestReport {
	r := TestReport{OK: len(steps) > 0, Steps: steps}
	for i := range steps {
		r.OK = r.OK && steps[i].OK
	}
	return r
}
