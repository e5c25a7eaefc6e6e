package rsyslog

import (
	"time"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// Field length limits of RFC 5424 section 6, in octets.
const (
	maxHost   = 255
	maxApp    = 48
	maxProcID = 128
	maxMsgID  = 32
	maxSDName = 32
)

// smallMessage is the maxMessageBytes below which PROCID is kept to
// smallProcID, so that all header fields at their limits still leave room for
// a message within the smallest maxMessageBytes (480).
const (
	smallMessage = 1024
	smallProcID  = 32
)

// framing is how messages are told apart.
type framing uint8

const (
	octetCounting framing = iota // RFC 6587 section 3.4.1, RFC 5425 section 4.3
	newlines                     // RFC 6587 section 3.4.2
	datagrams                    // RFC 5426 section 3.1
	relpFrames                   // RELP: a transaction number, the command, and a length
)

// counted reports whether a length tells messages apart, so that a newline may
// be part of one.
func (f framing) counted() bool { return f == octetCounting || f == relpFrames }

// changes say what was done to a record so that it fits. They are counted
// once the record's batch is confirmed.
type changes uint8

const (
	messageCut        changes = 1 << iota // MSG was longer than there was room for
	structuredDataCut                     // parameters were left out
	headerChanged                         // a header field was cut or had characters that RFC 5424 forbids
)

const changeKinds = 3

// Header and structured data may take 1/maxStructuredPortion of
// maxMessageBytes, so that MSG always gets the rest at least.
const maxStructuredPortion = 2

// changeReasons are the metric label values of changes, by bit.
var changeReasons = [changeKinds]string{"message_cut", "structured_data_cut", "header_changed"}

// encoder writes records as RFC 5424 messages, framed. It is used by one
// goroutine.
//
// MSG is sent as the octets that were read, without a byte order mark, which
// makes it MSG-ANY in the terms of RFC 5424 section 6.4: lbshipd relays lines
// and does not know their encoding, receivers show a mark as a part of the text
// (rsyslog does, and a JSON message behind one no longer parses), and nothing
// is lost where a line is not UTF-8. Newlines are kept where a length tells
// messages apart, and are written as #012, as rsyslog itself does, elsewhere.
type encoder struct {
	framing  framing
	max      int // octets of one message without its frame
	budget   int // octets that header and structured data may take
	procID   int // longest PROCID
	facility uint8
	host     string // of records whose batch does not say
	appName  string // of records without an identifier; empty: the source's name
	sdID     string // empty: no structured data
	fields   []fieldName
	all      bool // every field is sent

	sent   int64 // RELP: commands encoded on this connection; see relpTxnr
	second int64 // the second that stamp shows
	stamp  [len(" 2006-01-02T15:04:05.")]byte

	// What is the same for records of one origin and header, encoded once.
	// They are compared by address; nextBatch forgets the header, whose memory
	// is the batch's.
	origin       *record.Origin
	header       *record.Header
	originParams []byte // source, path and labels
	middle       []byte // " HOSTNAME APP-NAME PROCID MSGID [ID ...", without the "]"
	open         bool   // middle has an open structured data element
	kept         changes
}

// fieldName is a configured field and its PARAM-NAME.
type fieldName struct{ field, param string }

const noSecond = -1 << 63

// setMax sets how long a message may be, in octets.
func (e *encoder) setMax(n int) {
	e.max, e.budget, e.procID = n, n/maxStructuredPortion, maxProcID
	if n < smallMessage {
		e.procID = smallProcID
	}
}

// nextBatch is called before the first record of each batch.
func (e *encoder) nextBatch() { e.header = nil }

// append appends one framed message.
func (e *encoder) append(dst []byte, o *record.Origin, r *record.Record) ([]byte, changes) {
	if o != e.origin || r.Header != e.header {
		e.setRun(o, r.Header)
	}
	msg := r.Line
	if r.Flags&record.SyslogLine != 0 {
		msg = r.Message
	}
	if e.framing == relpFrames {
		dst = e.appendCommand(dst)
	}
	frame := len(dst)
	if e.framing.counted() {
		// The length is written last; its digits are nearly always guessed right.
		guess := digits(min(len(e.middle)+len(msg)+48, e.max))
		dst = append(dst, "                     "[:guess+1]...)
	}
	head := len(dst)
	dst, did := e.appendHead(dst, r)
	room := e.max - (len(dst) - head)
	switch {
	case !e.framing.counted():
		var cut bool
		if dst, cut = appendEscaped(dst, msg, room); cut {
			did |= messageCut
		}
		if e.framing == newlines {
			dst = append(dst, '\n')
		}
		return dst, did
	case len(msg) > room:
		msg = cutUTF8(msg, room)
		did |= messageCut
	}
	dst = append(setLength(dst, frame, head, len(dst)-head+len(msg)), msg...)
	if e.framing == relpFrames {
		dst = append(dst, '\n')
	}
	return dst, did
}

// appendHead appends everything before MSG.
func (e *encoder) appendHead(dst []byte, r *record.Record) ([]byte, changes) {
	head := len(dst)
	facility := r.Facility
	if facility > 23 {
		facility = e.facility
	}
	dst = append(dst, '<')
	dst = appendNumber(dst, int(facility)<<3|int(r.Level.Severity()))
	dst = append(dst, '>', '1')
	dst = e.appendTime(dst, r.Time)
	dst = append(dst, e.middle...)
	did := e.kept
	if !e.open {
		return append(dst, ' '), did
	}
	if r.Flags&record.Truncated != 0 {
		// A cut line says so where a person can see it.
		if len(dst)-head+len(truncatedParam)+2 <= e.budget {
			dst = append(dst, truncatedParam...)
		}
	}
	if len(r.Fields) > 0 {
		var cut bool
		if dst, cut = e.appendFields(dst, head, r); cut {
			did |= structuredDataCut
		}
	}
	return append(dst, ']', ' '), did
}

// truncatedParam marks a record whose line was longer than its source's maxLineBytes.
const truncatedParam = ` truncated="true"`

// appendTime appends " TIMESTAMP" (RFC 5424 section 6.2.3) in UTC with
// microseconds, which is as fine as the RFC allows; nanoseconds are cut off.
func (e *encoder) appendTime(dst []byte, t int64) []byte {
	second, nano := t/1e9, t%1e9
	if nano < 0 {
		second, nano = second-1, nano+1e9
	}
	if second != e.second {
		e.second = second
		time.Unix(second, 0).UTC().AppendFormat(e.stamp[:0], " 2006-01-02T15:04:05.")
	}
	dst = append(dst, e.stamp[:]...)
	us := uint32(nano / 1000)
	return append(dst, byte('0'+us/100000), byte('0'+us/10000%10), byte('0'+us/1000%10),
		byte('0'+us/100%10), byte('0'+us/10%10), byte('0'+us%10), 'Z')
}

// setRun encodes what the records of one origin and header share.
func (e *encoder) setRun(o *record.Origin, h *record.Header) {
	if o != e.origin {
		e.setOrigin(o)
	}
	e.header, e.kept = h, 0
	m := append(e.middle[:0], ' ')
	switch {
	case len(h.Host) > 0:
		m = appendHeaderField(m, h.Host, maxHost, &e.kept)
	case o.Host != "":
		m = appendHeaderField(m, o.Host, maxHost, &e.kept)
	default:
		m = appendHeaderField(m, e.host, maxHost, &e.kept)
	}
	m = append(m, ' ')
	switch {
	case len(h.Identifier) > 0:
		m = appendHeaderField(m, h.Identifier, maxApp, &e.kept)
	case e.appName != "":
		m = appendHeaderField(m, e.appName, maxApp, &e.kept)
	default:
		m = appendHeaderField(m, o.Source, maxApp, &e.kept)
	}
	m = append(m, ' ')
	m = appendHeaderField(m, h.PID, e.procID, &e.kept)
	m = append(m, ' ')
	m = appendHeaderField(m, h.MsgID, maxMsgID, &e.kept)
	m = append(m, ' ')
	e.middle, e.open = e.appendElement(m, o, h)
}

// appendHeaderField appends a header field: at most limit printable US-ASCII
// octets, "-" (NILVALUE) if it is empty. A character that is not allowed
// becomes "_".
func appendHeaderField[T string | []byte](dst []byte, value T, limit int, did *changes) []byte {
	if len(value) == 0 {
		return append(dst, '-')
	}
	start := len(dst)
	for i := 0; i < len(value); i++ {
		c := value[i]
		if len(dst)-start == limit {
			*did |= headerChanged
			return dst
		}
		if c > ' ' && c < 0x7f {
			dst = append(dst, c)
			continue
		}
		*did |= headerChanged
		// One sign for one character, however many octets it has.
		if c&0xc0 != 0x80 || i == 0 || value[i-1] < 0x80 {
			dst = append(dst, '_')
		}
	}
	return dst
}

// setLength writes the length of a message before it. head is where the
// message starts, frame where its frame does.
func setLength(dst []byte, frame, head, length int) []byte {
	want := digits(length) + 1
	if shift := want - (head - frame); shift != 0 {
		end := len(dst)
		if shift > 0 {
			dst = append(dst, "          "[:shift]...)
		}
		copy(dst[head+shift:], dst[head:end])
		dst = dst[:end+shift]
	}
	dst[frame+want-1] = ' '
	for i := frame + want - 2; i >= frame; i-- {
		dst[i] = byte('0' + length%10)
		length /= 10
	}
	return dst
}

func digits(n int) int {
	d := 1
	for ; n >= 10; n /= 10 {
		d++
	}
	return d
}

// appendNumber appends a number below 1000.
func appendNumber(dst []byte, n int) []byte {
	if n >= 100 {
		dst = append(dst, byte('0'+n/100))
	}
	if n >= 10 {
		dst = append(dst, byte('0'+n/10%10))
	}
	return append(dst, byte('0'+n%10))
}

// cutUTF8 returns the first octets of b, at most n, without half a character
// at the end. Octets that are no UTF-8 are cut anywhere.
func cutUTF8(b []byte, n int) []byte {
	for k := n; k > 0 && k > n-utf8.UTFMax; k-- {
		if utf8.RuneStart(b[k]) {
			return b[:k]
		}
	}
	return b[:n]
}

// appendEscaped appends at most room octets of msg, with newlines as #012,
// and reports whether it had to cut.
func appendEscaped(dst, msg []byte, room int) (_ []byte, cut bool) {
	for len(msg) > 0 {
		n := indexNewline(msg)
		if n > room {
			return append(dst, cutUTF8(msg, room)...), true
		}
		dst = append(dst, msg[:n]...)
		room -= n
		if n == len(msg) {
			return dst, false
		}
		if room < len(newlineShown) {
			return dst, true
		}
		dst = append(dst, newlineShown...)
		room -= len(newlineShown)
		msg = msg[n+1:]
	}
	return dst, false
}
