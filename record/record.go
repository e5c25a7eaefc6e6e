// Package record holds what travels through lbshipd: records, the batches
// that carry them, and the table of levels.
package record

// Position says where in an input reading goes on: the text that the input's
// source writes and reads, opaque to everything else, of printable ASCII
// without tabs and newlines. The empty Position is "nowhere yet". Two equal
// Positions of one input are the same place.
type Position string

// Label is a name and value that every record of a source or target carries.
type Label struct{ Name, Value string }

// Origin says where the records of a batch come from. It is made once per
// feed and is immutable from then on.
type Origin struct {
	Source string  // name of the source object
	Kind   string  // "journald" or "file"
	Input  string  // identity of the input within its source; never changes
	Path   string  // path of the file when it was first seen, or the journal's directory; for people and the "filename" label
	Host   string  // this node's name
	Labels []Label // the source's labels, sorted by name
}

// Field is one name and value of a record. Both are subslices of the batch
// (or static) and must not be kept longer than it.
type Field struct{ Name, Value []byte }

// Header holds what syslog calls the header of a record, where the input or
// the line itself knows it. Records of one batch may share a Header when
// theirs are equal, so that a pointer comparison finds runs of equal ones.
type Header struct {
	Host       []byte // journald _HOSTNAME, syslog HOSTNAME
	Identifier []byte // journald SYSLOG_IDENTIFIER (or _COMM), syslog APP-NAME or TAG
	PID        []byte // journald _PID (or SYSLOG_PID), syslog PROCID
	MsgID      []byte // syslog MSGID
	Unit       []byte // journald _SYSTEMD_UNIT (or UNIT)
}

// Flags say what happened to a record on its way.
type Flags uint16

const (
	// TimeAssigned: the record carries no time of its own; Time is when it was read.
	TimeAssigned Flags = 1 << iota
	// Truncated: the line was longer than maxLineBytes and was cut.
	Truncated
	// Unparsed: the line is not of its source's declared format; shipped as it is.
	Unparsed
	// SyslogLine: the line was a syslog message whose header is in Header, so
	// that a syslog target sends Message and not Line.
	SyslogLine
	// Torn: the line had no newline when its file ended, was rotated or was given up.
	Torn
	// Partial: an envelope (CRI) marked the line as a part; more follows.
	Partial
)

// NoFacility is the Facility of a record that has none.
const NoFacility = 0xff

// Record is one log entry. Its bytes are subslices of its batch.
type Record struct {
	// Time in Unix nanoseconds: the record's own, or when it was read (TimeAssigned).
	Time int64
	// Offset of the record's first byte in the input, for files; else 0.
	Offset int64
	// Line is what was read and what is shipped: without its newline, and
	// without its envelope where the format is one (cri).
	Line []byte
	// Message is the part of Line that people read; Line itself if the format has none.
	Message []byte
	// Fields beyond time, level, message and Header; only those that were asked for.
	Fields []Field
	// Header is never nil once a record is in a batch.
	Header   *Header
	Level    Level
	Facility uint8 // syslog facility code 0 to 23, or NoFacility
	Flags    Flags
}

// Field returns the value of the first field of that name, or nil.
func (r *Record) Field(name string) []byte {
	for i := range r.Fields {
		if string(r.Fields[i].Name) == name {
			return r.Fields[i].Value
		}
	}
	return nil
}

// recordOverhead is what a Record costs beside its bytes, for accounting.
const recordOverhead = 128
