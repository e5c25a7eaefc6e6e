package loki

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"strconv"
	"time"

	"github.com/golang/snappy"

	"github.com/lbshipd/lbshipd/sinks"
)

// deliver sends what is not answered yet of the group. Streams that are
// settled share requests; the others are sent by themselves (see risk).
func (s *Sink) deliver(ctx context.Context) error {
	var shared []part
	bytes := 0
	flush := func() error {
		if len(shared) == 0 {
			return nil
		}
		err := s.pushParts(ctx, shared, earlier{})
		shared, bytes = shared[:0], 0
		return err
	}
	for _, st := range s.group.streams {
		for st.done < len(st.refs) {
			p := st.cut(st.done, s.cap()-bytes)
			if !p.settled(s.now()) {
				p = st.cut(st.done, s.cap())
				if err := s.pushParts(ctx, []part{p}, earlier{}); err != nil {
					return err
				}
				continue
			}
			full := p.to < len(st.refs) || bytes+p.bytes >= s.cap()
			if bytes > 0 && bytes+p.bytes > s.cap() {
				// Its first line alone does not fit beside the others.
				if err := flush(); err != nil {
					return err
				}
				continue
			}
			shared, bytes = append(shared, p), bytes+p.bytes
			if !full {
				break // the next stream; this one is done with the flush
			}
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// cap is how many bytes of entries a request may hold now.
func (s *Sink) cap() int { return min(s.sizeCap, s.rateCap, s.maxRequest) }

// cut takes records of a stream from a place on until they weigh limit bytes,
// at least one. It ends before a line that is far behind one that it took: Loki's
// limit for lines that are too far behind is then the same for all that it refuses
// of a request, and what it took it takes again as duplicates.
func (st *stream) cut(from, limit int) part {
	p := part{st: st, from: from, to: from}
	newest := int64(math.MinInt64)
	for p.to < len(st.refs) {
		n := entryLen(st.refs[p.to].size)
		if p.to > from && p.bytes+n > limit {
			break
		}
		at := st.refs[p.to].rec.Time
		if p.to > from && newest-at > int64(maxSpan) {
			break
		}
		newest = max(newest, at)
		p.bytes += n
		p.to++
	}
	return p
}

// halves cuts a part of two records or more in two.
func (p *part) halves() (a, b part) {
	middle := p.from + p.records()/2
	a, b = part{st: p.st, from: p.from, to: middle}, part{st: p.st, from: middle, to: p.to}
	for i := p.from; i < middle; i++ {
		a.bytes += entryLen(p.st.refs[i].size)
	}
	b.bytes = p.bytes - a.bytes
	return a, b
}

// pushParts sends one request, and more if the answer asks for it, until each
// line of the parts is answered. On an error, what is answered is noted in the
// streams' done and in the group.
func (s *Sink) pushParts(ctx context.Context, parts []part, e earlier) error {
	a, err := s.post(ctx, parts)
	switch {
	case err != nil:
		return err
	case a.ok():
		s.taken(parts, nil)
		s.widen()
		return nil
	case a.tooLarge():
		return s.split(ctx, parts, a, e)
	}
	switch a.status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return s.sift(ctx, parts, a, e)
	case http.StatusTooManyRequests:
		return s.slowDown(parts, a, e)
	case http.StatusUnauthorized, http.StatusForbidden:
		s.client.forgetSecrets()
		return statusError(sinks.ClassAuth, a, s.client.shown)
	}
	if a.refusedByStore() {
		return s.sift(ctx, parts, a, e)
	}
	if a.status >= 500 {
		return statusError(sinks.ClassServer, a, s.client.shown)
	}
	return statusError(sinks.ClassHTTP, a, s.client.shown)
}

// taken notes that all lines of the parts are answered, of which some were
// refused.
func (s *Sink) taken(parts []part, refused []tally) {
	now := s.now()
	n := 0
	for i := range parts {
		p := &parts[i]
		p.st.done = p.to
		p.taken(now, len(parts) == 1, len(refused) > 0)
		n += p.records()
	}
	for _, t := range refused {
		n -= t.records
		s.group.refused = addTally(s.group.refused, t)
	}
	s.group.delivered += n
	s.stuck = stuck{}
}

// sift finds out which lines a 400 refused. Loki has stored the others, and
// drops them as duplicates when they come again with the same bytes (but see
// earlier).
func (s *Sink) sift(ctx context.Context, parts []part, a *answer, e earlier) error {
	v := judge(a, parts)
	single := len(parts) == 1 && parts[0].records() == 1
	switch v.kind {
	case counted:
		if s.refuse(parts, a, &v, e) {
			return nil
		}
	case limited:
		return s.slowDown(parts, a, e)
	case blocked:
		return statusError(sinks.ClassHTTP, a, s.client.shown)
	case unknownBody:
		// A line is refused only on Loki's word, and this may be a proxy's.
		if a.isPage() {
			return statusError(sinks.ClassHTTP, a, s.client.shown)
		}
		if single {
			return s.insist(ctx, parts, a, e)
		}
		if err := s.vouch(ctx, a); err != nil {
			return err
		}
	}
	if single {
		reason, _, _ := knownReason(a.body)
		s.refuseAll(parts, reason, a.words(a.body), e)
		return nil
	}
	e = e.after(a, parts)
	if len(parts) > 1 { // stream by stream first
		return s.pushEach(ctx, parts, e)
	}
	first, second := parts[0].halves()
	return s.pushEach(ctx, []part{first, second}, e)
}

func (s *Sink) pushEach(ctx context.Context, parts []part, e earlier) error {
	for i := range parts {
		if err := s.pushParts(ctx, []part{parts[i]}, e); err != nil {
			return err
		}
	}
	return nil
}

// vouch makes sure that it is Loki that answers: a push without streams is
// answered in Loki's own words. If it is not, the answer a is an error of the
// way there, and no line is lost for it.
func (s *Sink) vouch(ctx context.Context, a *answer) error {
	if s.vouched {
		return nil
	}
	b, err := s.post(ctx, nil)
	if err != nil {
		return err
	}
	if b.status == http.StatusUnprocessableEntity && knownEmpty(b.body) {
		s.vouched = true
		return nil
	}
	return statusError(sinks.ClassHTTP, a, s.client.shown)
}

// insistTimes is how often, in a row, one line must be refused in the same
// unknown words, while Loki itself answers in between.
const insistTimes = 3

// insist gives one line up that is refused in words nobody knows, if they stay
// the same: what stands in front of Loki may refuse a request now and then, and
// the same request must not be lost for it.
func (s *Sink) insist(ctx context.Context, parts []part, a *answer, e earlier) error {
	for range insistTimes - 1 {
		s.vouched = false
		if err := s.vouch(ctx, a); err != nil {
			return err
		}
		b, err := s.post(ctx, parts)
		if err != nil {
			return err
		}
		if b.ok() {
			s.taken(parts, nil)
			return nil
		}
		if b.status != a.status || b.body != a.body {
			return statusError(sinks.ClassHTTP, b, s.client.shown)
		}
	}
	reason, _, _ := knownReason(a.body)
	s.refuseAll(parts, reason, a.words(a.body), e)
	return nil
}

// split sends the parts in two requests, because one was too large.
func (s *Sink) split(ctx context.Context, parts []part, a *answer, e earlier) error {
	bytes := 0
	for i := range parts {
		bytes += parts[i].bytes
	}
	s.sizeCap = max(bytes/2, minCap)
	if len(parts) > 1 {
		middle := len(parts) / 2
		first, second := parts[:middle:middle], parts[middle:]
		if err := s.pushParts(ctx, first, e); err != nil {
			return err
		}
		return s.pushParts(ctx, second, e)
	}
	if parts[0].records() == 1 {
		s.refuseAll(parts, reasonTooLarge, a.words(a.body), e)
		return nil
	}
	first, second := parts[0].halves()
	return s.pushEach(ctx, []part{first, second}, e)
}

// minCap is what the caps do not go below, in bytes; a request holds one line
// at least in any case.
const minCap = 512

// widen raises the caps again: the rate's at once, since a rate limit's bucket
// fills by the second; the size's slowly, since each try that is too large
// costs a request.
func (s *Sink) widen() {
	s.rateCap = min(2*s.rateCap, s.maxRequest)
	if s.sizeCap < s.maxRequest {
		s.sizeCap = min(s.sizeCap+s.sizeCap/128+1, s.maxRequest)
	}
}

// stuck is a line that is sent alone and meets a rate limit every time.
type stuck struct {
	since time.Time
	times int
	time  int64 // its timestamp
	size  uint32
}

// A line is given up as above a rate limit only after this long.
const (
	stuckFor   = 10 * time.Minute
	stuckTimes = 10
)

// slowDown makes the error of a 429, and lets the next try be half as large:
// a request above ingestion_burst_size never passes, however long it waits.
// One line alone that is larger than what the limit lets through in a whole
// second, and that was tried for ten minutes, is refused: everything behind it
// would wait for ever.
func (s *Sink) slowDown(parts []part, a *answer, e earlier) error {
	now, bytes := s.now(), 0
	for i := range parts {
		bytes += parts[i].bytes
	}
	s.rateCap = max(min(s.rateCap, bytes)/2, minCap)
	if len(parts) == 1 && parts[0].records() == 1 {
		f := &parts[0].st.refs[parts[0].from]
		if s.stuck.times == 0 || s.stuck.time != f.rec.Time || s.stuck.size != f.size {
			s.stuck = stuck{since: now, time: f.rec.Time, size: f.size}
		}
		s.stuck.times++
		limit, ok := rateLimit(a.body)
		if ok && limit > 0 && len(f.rec.Line) > limit && s.stuck.times >= stuckTimes && now.Sub(s.stuck.since) >= stuckFor {
			s.refuseAll(parts, reasonRate, a.words(a.body), e)
			return nil
		}
	}
	err := statusError(sinks.ClassLimited, a, s.client.shown).(*sinks.Error)
	err.RetryAfter = retryAfter(a.header, now)
	return err
}

// rateLimitWords are the limits in RateLimitedErrorMsg and ErrStreamRateLimit
// of Loki's pkg/validation: "(limit: 4194304 bytes/sec)", "(limit: 3MB/sec)".
var rateLimitWords = regexp.MustCompile(`\(limit: (\d+(?:\.\d+)?) ?(bytes|B|KB|MB|GB|TB)/sec\)`)

// rateLimit returns the limit that a 429 names, in bytes per second.
func rateLimit(body string) (int, bool) {
	m := rateLimitWords.FindStringSubmatch(body)
	if m == nil {
		return 0, false
	}
	n, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		return 0, false
	}
	unit := map[string]float64{"bytes": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}[m[2]]
	return int(min(n*unit, 1<<40)), true
}

// post sends one request of the parts and reads the answer. Any error is a
// *sinks.Error.
func (s *Sink) post(ctx context.Context, parts []part) (*answer, error) {
	s.push = s.metadata.appendPush(s.push[:0], parts)
	if n := snappy.MaxEncodedLen(len(s.push)); n < 0 {
		return nil, &sinks.Error{Class: sinks.ClassLocal, Err: fmt.Errorf("a push of %d bytes is more than snappy takes", len(s.push))}
	} else if cap(s.packed) < n {
		s.packed = make([]byte, n)
	}
	packed := snappy.Encode(s.packed[:cap(s.packed)], s.push)
	start := s.now()
	a, reusable, err := s.client.do(ctx, packed)
	if !reusable {
		s.packed = nil // the transport may still read it
	}
	s.sent += int64(len(packed))
	outcome := "ok"
	if err != nil {
		outcome = err.Class
	} else if !a.ok() {
		outcome = classOf(a.status)
	}
	s.deps.Request(s.now().Sub(start), outcome)
	if err != nil {
		return nil, err
	}
	return a, nil
}

func classOf(status int) string {
	switch {
	case status == http.StatusTooManyRequests:
		return sinks.ClassLimited
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return sinks.ClassAuth
	case status >= 500:
		return sinks.ClassServer
	}
	return sinks.ClassHTTP
}
