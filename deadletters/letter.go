package deadletters

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/lbshipd/lbshipd/record"
)

// Letter is one refused record with everything that is needed to send it again
// as the same record, and why it was refused: one line of JSON. What is not UTF-8
// stands in the field of the same name with "Base64" behind it.
type Letter struct {
	ID      string    `json:"id"`      // digest of the record: of what follows Target's words
	Refused time.Time `json:"refused"` // when
	Target  string    `json:"target"`  // who refused it
	Reason  string    `json:"reason"`
	Detail  string    `json:"detail,omitempty"` // the target's own words

	Source     string            `json:"source"`
	Kind       string            `json:"kind,omitempty"`
	Input      string            `json:"input,omitempty"` // identity of the input
	Path       *string           `json:"path,omitempty"`
	PathBase64 []byte            `json:"pathBase64,omitempty"`
	Node       string            `json:"node,omitempty"`   // where lbshipd read it
	Labels     map[string]string `json:"labels,omitempty"` // of the source

	Time     time.Time `json:"time"`
	Level    string    `json:"level"`
	Facility *uint8    `json:"facility,omitempty"` // syslog's code
	Flags    []string  `json:"flags,omitempty"`
	Offset   int64     `json:"offset,omitempty"` // in the file

	Host             *string `json:"host,omitempty"`
	HostBase64       []byte  `json:"hostBase64,omitempty"`
	Identifier       *string `json:"identifier,omitempty"`
	IdentifierBase64 []byte  `json:"identifierBase64,omitempty"`
	PID              *string `json:"pid,omitempty"`
	PIDBase64        []byte  `json:"pidBase64,omitempty"`
	MsgID            *string `json:"msgid,omitempty"`
	MsgIDBase64      []byte  `json:"msgidBase64,omitempty"`
	Unit             *string `json:"unit,omitempty"`
	UnitBase64       []byte  `json:"unitBase64,omitempty"`

	Line          *string `json:"line,omitempty"`
	LineBase64    []byte  `json:"lineBase64,omitempty"`
	Message       *string `json:"message,omitempty"` // if it is not the line
	MessageBase64 []byte  `json:"messageBase64,omitempty"`
	Fields        []Field `json:"fields,omitempty"`
}

// Field is one field of a letter's record.
type Field struct {
	Name        *string `json:"name,omitempty"`
	NameBase64  []byte  `json:"nameBase64,omitempty"`
	Value       *string `json:"value,omitempty"`
	ValueBase64 []byte  `json:"valueBase64,omitempty"`
}

// flagNames are the names of record.Flags, by bit.
var flagNames = []struct {
	flag record.Flags
	name string
}{
	{record.TimeAssigned, "timeAssigned"}, {record.Truncated, "truncated"}, {record.Unparsed, "unparsed"},
	{record.SyslogLine, "syslogLine"}, {record.Torn, "torn"}, {record.Partial, "partial"},
}

// New makes the letter of record i of b. It holds copies only of what it must
// convert; it must be encoded before the batch is released.
func New(b *record.Batch, i int, target, reason, detail string, now time.Time) *Letter {
	o, r := b.Origin, &b.Records[i]
	l := &Letter{
		Refused: now.UTC(), Target: target, Reason: reason, Detail: valid(detail),
		Source: o.Source, Kind: o.Kind, Input: valid(o.Input), Node: valid(o.Host),
		Time: time.Unix(0, r.Time).UTC(), Level: r.Level.String(), Offset: r.Offset,
	}
	if o.Path != "" {
		l.Path, l.PathBase64 = text([]byte(o.Path))
	}
	if len(o.Labels) > 0 {
		l.Labels = make(map[string]string, len(o.Labels))
		for _, p := range o.Labels {
			l.Labels[valid(p.Name)] = valid(p.Value)
		}
	}
	if r.Facility != record.NoFacility {
		l.Facility = &r.Facility
	}
	for _, f := range flagNames {
		if r.Flags&f.flag != 0 {
			l.Flags = append(l.Flags, f.name)
		}
	}
	if h := r.Header; h != nil {
		for _, p := range l.header() {
			if v := *p.of(h); len(v) > 0 {
				*p.text, *p.raw = text(v)
			}
		}
	}
	l.Line, l.LineBase64 = text(r.Line)
	if !bytes.Equal(r.Message, r.Line) {
		l.Message, l.MessageBase64 = text(r.Message)
	}
	for _, f := range r.Fields {
		var x Field
		x.Name, x.NameBase64 = text(f.Name)
		x.Value, x.ValueBase64 = text(f.Value)
		l.Fields = append(l.Fields, x)
	}
	l.ID = l.digest()
	return l
}

// headerPart ties a part of a Header to its fields in a letter.
type headerPart struct {
	text **string
	raw  *[]byte
	of   func(*record.Header) *[]byte
}

func (l *Letter) header() [5]headerPart {
	return [5]headerPart{
		{&l.Host, &l.HostBase64, func(h *record.Header) *[]byte { return &h.Host }},
		{&l.Identifier, &l.IdentifierBase64, func(h *record.Header) *[]byte { return &h.Identifier }},
		{&l.PID, &l.PIDBase64, func(h *record.Header) *[]byte { return &h.PID }},
		{&l.MsgID, &l.MsgIDBase64, func(h *record.Header) *[]byte { return &h.MsgID }},
		{&l.Unit, &l.UnitBase64, func(h *record.Header) *[]byte { return &h.Unit }},
	}
}

// text gives the one of two JSON fields in which p is written.
func text(p []byte) (*string, []byte) {
	if !utf8.Valid(p) {
		return nil, p
	}
	s := string(p)
	return &s, nil
}

// valid is for what is UTF-8 by its nature; JSON can hold nothing else.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// plain undoes text.
func plain(s *string, raw []byte) []byte {
	if s != nil {
		return []byte(*s)
	}
	return raw
}

// LineBytes returns the line as it was read.
func (l *Letter) LineBytes() []byte { return plain(l.Line, l.LineBase64) }

// Origin returns where the record came from.
func (l *Letter) Origin() *record.Origin {
	o := &record.Origin{Source: l.Source, Kind: l.Kind, Input: l.Input, Path: string(plain(l.Path, l.PathBase64)), Host: l.Node}
	for _, name := range sortedKeys(l.Labels) {
		o.Labels = append(o.Labels, record.Label{Name: name, Value: l.Labels[name]})
	}
	return o
}

// SameOrigin reports whether both records can be in one batch.
func (l *Letter) SameOrigin(m *Letter) bool {
	if l.Source != m.Source || l.Kind != m.Kind || l.Input != m.Input || l.Node != m.Node || len(l.Labels) != len(m.Labels) ||
		!bytes.Equal(plain(l.Path, l.PathBase64), plain(m.Path, m.PathBase64)) {
		return false
	}
	for name, value := range l.Labels {
		if other, ok := m.Labels[name]; !ok || other != value {
			return false
		}
	}
	return true
}

// AddTo adds the record to a batch, whose Origin is the caller's business.
func (l *Letter) AddTo(b *record.Batch) {
	r := b.Add()
	r.Time, r.Offset = l.Time.UnixNano(), l.Offset
	r.Level = record.ParseLevel([]byte(l.Level))
	if l.Facility != nil {
		r.Facility = *l.Facility
	}
	for _, f := range flagNames {
		for _, name := range l.Flags {
			if name == f.name {
				r.Flags |= f.flag
			}
		}
	}
	h := b.NewHeader()
	for _, p := range l.header() {
		if *p.text != nil || *p.raw != nil {
			*p.of(h) = b.Copy(plain(*p.text, *p.raw))
		}
	}
	r.Header = h
	r.Line = b.Copy(l.LineBytes())
	r.Message = r.Line
	if l.Message != nil || l.MessageBase64 != nil {
		r.Message = b.Copy(plain(l.Message, l.MessageBase64))
	}
	for _, f := range l.Fields {
		b.AddField(r, b.Copy(plain(f.Name, f.NameBase64)), b.Copy(plain(f.Value, f.ValueBase64)))
	}
}

// AppendTo appends the letter as one line with its newline.
func (l *Letter) AppendTo(buf []byte) ([]byte, error) {
	w := bytes.NewBuffer(buf)
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil {
		return buf, fmt.Errorf("encoding a dead letter: %w", err)
	}
	return w.Bytes(), nil
}

// errors of Decode.
var (
	errNoLine  = errors.New("there is no line in it")
	errChanged = errors.New("its id is not that of its contents: it was damaged, or changed by hand (leave the id out then)")
)

// Decode reads one line. A letter whose record is not the one that was written
// is an error; one without an id is given its own.
func Decode(line []byte) (*Letter, error) {
	l := new(Letter)
	if err := json.Unmarshal(line, l); err != nil {
		return nil, fmt.Errorf("not a dead letter: %w", err)
	}
	if l.Line == nil && l.LineBase64 == nil {
		return nil, errNoLine
	}
	if t := l.Time; !time.Unix(0, t.UnixNano()).Equal(t) {
		return nil, fmt.Errorf("time %v is none that a record can have", t)
	}
	id := l.digest()
	if l.ID != "" && l.ID != id {
		return nil, errChanged
	}
	l.ID = id
	return l, nil
}

// digest is over the record alone: the same record has the same one however
// often and by whom it is refused.
func (l *Letter) digest() string {
	h := sha256.New()
	for _, s := range []string{l.Source, l.Kind, l.Input, l.Node, l.Level} {
		hashBytes(h, []byte(s))
	}
	hashBytes(h, plain(l.Path, l.PathBase64))
	hashNumber(h, int64(len(l.Labels)))
	for _, name := range sortedKeys(l.Labels) {
		hashBytes(h, []byte(name))
		hashBytes(h, []byte(l.Labels[name]))
	}
	hashNumber(h, l.Time.UnixNano())
	hashNumber(h, l.Offset)
	facility := int64(-1)
	if l.Facility != nil {
		facility = int64(*l.Facility)
	}
	hashNumber(h, facility)
	hashNumber(h, int64(len(l.Flags)))
	for _, f := range l.Flags {
		hashBytes(h, []byte(f))
	}
	for _, p := range l.header() {
		hashBytes(h, plain(*p.text, *p.raw))
	}
	hashBytes(h, l.LineBytes())
	message := plain(l.Message, l.MessageBase64)
	if l.Message == nil && l.MessageBase64 == nil {
		message = l.LineBytes()
	}
	hashBytes(h, message)
	hashNumber(h, int64(len(l.Fields)))
	for _, f := range l.Fields {
		hashBytes(h, plain(f.Name, f.NameBase64))
		hashBytes(h, plain(f.Value, f.ValueBase64))
	}
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func hashBytes(h hash.Hash, p []byte) {
	hashNumber(h, int64(len(p)))
	h.Write(p)
}

func hashNumber(h hash.Hash, n int64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(n))
	h.Write(b[:])
}
