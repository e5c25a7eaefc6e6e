package parse

import (
	"bytes"

	"github.com/lbshipd/lbshipd/record"
)

// criFormat takes the envelope that containerd and CRI-O write around each
// line of a container (Kubernetes, "CRI logging format"):
//
//	2024-05-02T10:11:12.123456789Z stdout F the line itself
//
// It replaces Line by the content and says nothing of its level. P instead of F
// (which may be the first of several tags, set apart by colons) marks a part
// of a line that goes on; the pipeline joins the parts.
type criFormat struct{}

// criLine is an envelope taken apart.
type criLine struct {
	at      stamp
	stream  []byte
	content []byte
	partial bool
}

var criStream = []byte("stream")

// cutCRI takes the envelope off; false if there is none. It is strict, so that
// it can tell the format.
func cutCRI(p []byte, c *criLine) bool {
	// 2024-05-02T10:11:12Z stdout F
	if len(p) < 29 || p[4] != '-' || p[10] != 'T' {
		return false
	}
	i := c.at.scanISO(p)
	if i == 0 || !c.at.zoned || i+9 > len(p) || p[i] != ' ' {
		return false
	}
	c.stream = p[i+1 : i+7 : i+7]
	if s := string(c.stream); s != "stdout" && s != "stderr" || p[i+7] != ' ' {
		return false
	}
	i += 8
	if p[i] != 'P' && p[i] != 'F' {
		return false
	}
	c.partial = p[i] == 'P'
	rest := p[i+1:]
	if len(rest) > 0 && rest[0] == ':' { // further tags
		n := bytes.IndexByte(rest, ' ')
		if n < 0 {
			n = len(rest)
		}
		rest = rest[n:]
	}
	if len(rest) == 0 {
		c.content = rest
		return true
	}
	if rest[0] != ' ' {
		return false
	}
	c.content = rest[1:]
	return true
}

// Level is unknown: the envelope does not say it.
func (criFormat) Level([]byte) record.Level { return record.LevelUnknown }

func (criFormat) Parse(b *record.Batch, r *record.Record, o *Options) bool {
	var c criLine
	if !cutCRI(r.Line, &c) {
		return false
	}
	t, ok := c.at.unix(o)
	if !ok {
		return false
	}
	c.apply(b, r, o, t)
	return true
}

func (c *criLine) apply(b *record.Batch, r *record.Record, o *Options, t int64) {
	r.Time = t
	r.Flags &^= record.TimeAssigned | record.Partial
	if c.partial {
		r.Flags |= record.Partial
	}
	r.Line, r.Message = c.content, c.content
	if o.Fields && o.MaxFields > 0 {
		b.AddField(r, criStream, c.stream)
	}
}
