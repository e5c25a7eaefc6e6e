package loki

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/sinks/probe"
)

// answer is what the target said to one request.
type answer struct {
	status int
	header http.Header
	body   string // at most maxBody bytes
	whole  bool   // body is all of it
	sent   string // the Authorization that it is the answer to
}

// words hides the secrets in what the target says, and cuts it to what is kept: it is shown at
// /status and in the log. Some servers and proxies repeat the headers that they were sent.
func (a *answer) words(text string) string {
	return cutDetail(probe.Without(text, credentials(a.sent)))
}

// credentials lists what is secret in an Authorization, the longest first.
func credentials(authorization string) []string {
	scheme, value, _ := strings.Cut(authorization, " ")
	list := []string{value}
	if plain, err := base64.StdEncoding.DecodeString(value); err == nil && scheme == "Basic" {
		_, password, _ := strings.Cut(string(plain), ":")
		list = append(list, password)
	}
	return list
}

// isPage reports whether the answer is a page for people: Loki writes none.
func (a *answer) isPage() bool {
	return strings.HasPrefix(a.header.Get("Content-Type"), "text/html") || strings.HasPrefix(strings.TrimSpace(a.body), "<")
}

// maxBody is how much of an answer is read, in bytes. Loki names each refused
// line whose message differs, so a body can be as large as the push was.
const maxBody = 1 << 20

// maxDetail is how much of the target's words a Refusal carries.
const maxDetail = 1 << 10

// verdictKind says what the body of a 400 or 422 means for the lines sent.
type verdictKind uint8

const (
	// unknownBody: nothing that Loki is known to say of lines. A proxy, or a
	// mistake in the configuration, may have answered.
	unknownBody verdictKind = iota
	// counted: refusals is exact for the lines sent.
	counted
	// unsure: lines were refused, how many cannot be told from the body.
	unsure
	// limited: some lines were held back by a rate limit; they may pass later.
	limited
	// blocked: an administrator closed the door for a while.
	blocked
)

// tally counts refused lines by reason and, once that is known, by source.
type tally struct {
	source  string
	reason  string
	records int
	detail  string
}

type verdict struct {
	kind     verdictKind
	refusals []tally
}

// reasons are the words by which Loki 3 (pkg/validation/validate.go,
// pkg/chunkenc/interface.go) is known to refuse lines. whole: the words speak
// of a stream, once, and all its lines are refused.
var reasons = []struct {
	words  string
	reason string
	whole  bool
}{
	{"entry too far behind", reasonBehind, false},
	{"entry out of order", "out_of_order", false},
	{"has timestamp too old", "too_old", false},
	{"has timestamp too new", "too_new", false},
	{"max entry size '", "line_too_long", false},
	{"includes structured metadata, but this feature is disallowed", "metadata_disallowed", false},
	{"has structured metadata too large", "metadata_too_large", false},
	{"has too many structured metadata labels", "metadata_too_many", false},
	{"error parsing labels", "label_invalid", true},
	{"couldn't parse labels", "label_invalid", true},
	{"label names; limit", "label_limit", true},
	{"has label name too long", "label_too_long", true},
	{"has label value too long", "label_too_long", true},
	{"has duplicate label name", "label_duplicate", true},
	{"at least one label pair is required", "label_missing", true},
	{"missing required labels", "label_missing", true},
	{"maximum active stream limit exceeded", "stream_limit", true},
	{schemaWords, "no_schema", false},
}

const (
	rateWords    = "Per stream rate limit exceeded"
	blockedWords = "ingestion blocked for user"
	groupWords   = " errors like: "
	ignoredWords = "total ignored: "
	schemaWords  = "no schema config found for time"
)

// Reasons other than those in the table.
const (
	reasonOther    = "other"
	reasonBehind   = "too_far_behind"
	reasonTooLarge = "request_too_large" // one line alone is above a limit of the whole request
	reasonRate     = "above_rate_limit"  // one line alone is above what a rate limit lets through
)

// knownReason returns the first entry of the table that message speaks of.
func knownReason(message string) (reason string, whole, known bool) {
	for _, r := range reasons {
		if strings.Contains(message, r.words) {
			return r.reason, r.whole, true
		}
	}
	return reasonOther, false, false
}

// judge reads the body of a 400 or 422 that answers parts. Loki's distributor
// and its ingester speak differently, and only one of them is heard:
//
//   - the distributor counts every message, of lines and of streams, and what
//     was valid is stored: "3 errors like: M1; 1 errors like: M2", or just "M1" if
//     there is one error in all (pkg/util/errors.go, GroupedErrors);
//   - the ingester counts the lines of one stream, the last of the request, and
//     hides what the distributor had to say: "entry with timestamp T ignored,
//     reason: 'M',\n" up to 10 times, then "user 'U', total ignored: N out of M for
//     stream: {...}" (pkg/ingester/stream.go, errorForFailedEntries).
func judge(a *answer, parts []part) verdict {
	switch body := a.body; {
	case a.refusedByStore():
		return verdict{kind: unsure}
	case strings.Contains(body, blockedWords):
		return verdict{kind: blocked}
	case strings.Contains(body, ignoredWords):
		return judgeIngester(a, parts)
	default:
		return judgeDistributor(a, parts)
	}
}

// totalIgnored is the last line of the ingester's answer.
var totalIgnored = regexp.MustCompile(`(?:^|\n)user '[^'\n]*', total ignored: (\d+) out of (\d+) for stream: `)

func judgeIngester(a *answer, parts []part) verdict {
	head, _, _ := strings.Cut(a.body, ignoredWords)
	if strings.Contains(head, rateWords) {
		return verdict{kind: limited}
	}
	found := totalIgnored.FindAllStringSubmatchIndex(a.body, 2)
	if len(found) != 1 || strings.Count(a.body, ignoredWords) != 1 || !a.whole || len(parts) != 1 {
		return verdict{kind: unsure}
	}
	at := found[0]
	refused, err := strconv.Atoi(a.body[at[2]:at[3]])
	seen, err2 := strconv.Atoi(a.body[at[4]:at[5]])
	// A stream above the desired rate is cut into shards, and only one of them
	// is spoken of.
	labels := a.body[at[1]:]
	sharded := strings.Contains(labels, "__stream_shard__") || strings.Contains(labels, "__time_shard__")
	sent := parts[0].records()
	if err != nil || err2 != nil || sharded || refused < 1 || refused > seen || seen > sent {
		return verdict{kind: unsure}
	}
	reason, _, _ := knownReason(head)
	v := verdict{kind: counted, refusals: []tally{{"", reason, refused, a.words(a.body)}}}
	if seen < sent {
		// The distributor took these out before the ingester saw the stream; its
		// words are not in the body.
		v.refusals = append(v.refusals, tally{"", reasonOther, sent - seen, a.words(a.body)})
	}
	return v
}

// groupHead begins each group of the distributor's answer.
var groupHead = regexp.MustCompile(`(?:^|; )(\d+) errors like: `)

func judgeDistributor(a *answer, parts []part) verdict {
	_, _, known := knownReason(a.body)
	if !known {
		return verdict{kind: unknownBody}
	}
	if !a.whole {
		return verdict{kind: unsure}
	}
	sent := 0
	for i := range parts {
		sent += parts[i].records()
		if strings.Contains(parts[i].st.labels, groupWords) {
			return verdict{kind: unsure} // label values are quoted in the messages
		}
	}
	v := verdict{kind: counted}
	total := 0
	for _, g := range groups(a.body) {
		reason, whole, known := knownReason(g.detail)
		switch {
		case !known || g.records < 1:
			return verdict{kind: unsure}
		case whole && len(parts) > 1:
			return verdict{kind: unsure} // of which stream?
		case whole:
			return verdict{kind: counted, refusals: []tally{{"", reason, sent, a.words(g.detail)}}}
		}
		total += g.records
		if total > sent {
			return verdict{kind: unsure}
		}
		v.add(reason, g.records, a.words(g.detail))
	}
	return v
}

// groups takes the distributor's answer apart.
func groups(body string) []tally {
	heads := groupHead.FindAllStringSubmatchIndex(body, -1)
	if len(heads) == 0 || heads[0][0] != 0 {
		return []tally{{records: 1, detail: body}}
	}
	var out []tally
	for i, h := range heads {
		end := len(body)
		if i+1 < len(heads) {
			end = heads[i+1][0]
		}
		n, err := strconv.Atoi(body[h[2]:h[3]])
		if err != nil {
			n = 0
		}
		out = append(out, tally{records: n, detail: body[h[1]:end]})
	}
	return out
}

// add counts refused lines, one tally for each reason, with the first detail.
func (v *verdict) add(reason string, n int, detail string) {
	v.refusals = addTally(v.refusals, tally{"", reason, n, detail})
}

// speaksOf reports whether lines were refused for that reason.
func (v *verdict) speaksOf(reason string) bool {
	return slices.ContainsFunc(v.refusals, func(t tally) bool { return t.reason == reason })
}

func addTally(to []tally, t tally) []tally {
	for i := range to {
		if to[i].reason == t.reason && to[i].source == t.source {
			to[i].records += t.records
			return to
		}
	}
	return append(to, t)
}

// cutDetail cuts the target's words to what is kept of them.
func cutDetail(text string) string {
	text = strings.ToValidUTF8(strings.TrimSpace(text), replacement)
	if len(text) <= maxDetail {
		return text
	}
	cut := maxDetail - len("...")
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return strings.Clone(text[:cut]) + "..."
}

// retryAfter reads the Retry-After header (RFC 9110 section 10.2.3): seconds
// or a date. What is not understood, or past, is 0. A wish above an hour is
// taken for an hour.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if text == "" {
		return 0
	}
	var wait time.Duration
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(text); err == nil {
		wait = at.Sub(now)
	}
	return min(max(wait, 0), time.Hour)
}

// tooLarge reports whether the answer is about the size of the request: 413,
// or a gRPC limit behind the distributor, which Loki passes on as a 500.
func (a *answer) tooLarge() bool {
	if a.status == http.StatusRequestEntityTooLarge {
		return true
	}
	return a.status >= 400 && (strings.Contains(a.body, "message larger than max") || strings.Contains(a.body, "message size too large") ||
		strings.Contains(a.body, "compressed message size ") && strings.Contains(a.body, " exceeds limit "))
}

// refusedByStore reports whether a 500 is about lines all the same: they are
// older than the first entry of Loki's schema_config, and would never pass. It
// speaks of the oldest line of a new stream and refuses all that come with it.
func (a *answer) refusedByStore() bool {
	return a.status >= 500 && strings.Contains(a.body, schemaWords)
}

// ok reports whether the target took everything. 260 is Loki's own code for
// "ingestion blocked", so not every 2xx is a yes; and a web page in answer to a push
// is a wrong URL.
func (a *answer) ok() bool {
	switch a.status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted, http.StatusNoContent:
		return !strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
	}
	return false
}

// knownEmpty reports whether the body is Loki's answer to a push without
// streams (MissingStreamsErrorMsg in pkg/validation/validate.go).
func knownEmpty(body string) bool {
	return strings.Contains(body, "at least one valid stream is required for ingestion")
}
