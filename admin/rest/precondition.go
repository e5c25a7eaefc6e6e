package rest

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// The headers of conditional requests (RFC 9110 section 13.1).
const (
	ifMatch     = "If-Match"
	ifNoneMatch = "If-None-Match"
)

// conditional reports whether the request has a condition.
func (c *call) conditional() bool {
	return c.r.Header.Get(ifMatch) != "" || c.r.Header.Get(ifNoneMatch) != ""
}

// tags are the entity tags of a condition.
type tags struct {
	given bool
	any   bool // *
	list  []tag
}

// tag is one entity tag (RFC 9110 section 8.8.3).
type tag struct {
	weak   bool
	opaque string
}

func quoteETag(etag string) string { return `"` + etag + `"` }

// parseTags reads If-Match or If-None-Match: * or a list of tags.
func parseTags(h http.Header, name string) (tags, error) {
	text := strings.TrimSpace(strings.Join(h.Values(name), ","))
	if text == "" {
		return tags{}, nil
	}
	if text == "*" {
		return tags{given: true, any: true}, nil
	}
	out := tags{given: true}
	for text != "" {
		var t tag
		t.weak = strings.HasPrefix(text, "W/")
		text = strings.TrimPrefix(text, "W/")
		rest, ok := strings.CutPrefix(text, `"`)
		opaque, rest, closed := strings.Cut(rest, `"`)
		if !ok || !closed {
			return tags{}, invalid(`the header %s cannot be read: it takes * or ETags in quotes, such as "%s"`, name, "42")
		}
		t.opaque = opaque
		out.list = append(out.list, t)
		rest = strings.TrimLeft(rest, " \t")
		next, comma := strings.CutPrefix(rest, ",")
		if rest != "" && !comma {
			return tags{}, invalid("the header %s cannot be read: ETags are separated by commas", name)
		}
		text = strings.TrimLeft(next, " \t,")
	}
	return out, nil
}

// strong reports whether a tag is that of the object (section 8.8.3.2).
func (t tags) strong(etag string) bool {
	return slices.ContainsFunc(t.list, func(t tag) bool { return !t.weak && t.opaque == etag })
}

// weak does the same as If-None-Match compares.
func (t tags) weakly(etag string) bool {
	return slices.ContainsFunc(t.list, func(t tag) bool { return t.opaque == etag })
}

// conditions turns the request's conditions into those of a Change. What the
// store holds is looked at only if the conditions ask for that; that it
// still holds when it is written is the store's part.
func (c *call) conditions(change *config.Change) error {
	match, err := parseTags(c.r.Header, ifMatch)
	if err != nil {
		return err
	}
	none, err := parseTags(c.r.Header, ifNoneMatch)
	if err != nil {
		return err
	}
	if !match.given && !none.given {
		return nil
	}
	now, err := c.stored(change.Kind, change.Name)
	if err != nil {
		return err
	}
	noun := Noun(change.Kind)
	deleting := change.Draft == nil
	switch {
	case now == nil && deleting:
		return nil // 404, whatever the conditions: section 13.2.1
	case now == nil && match.given:
		return preconditionFailed("%s %q is not there, which If-Match asks for", noun, change.Name)
	case now == nil:
		change.Create = true
		return nil
	case match.given && !match.any && !match.strong(now.Etag):
		return preconditionFailed("%s %q was changed meanwhile: read it again (its ETag is another one than that of If-Match)", noun, change.Name)
	case none.any || none.given && none.weakly(now.Etag):
		return preconditionFailed("%s %q is there already, which If-None-Match excludes", noun, change.Name)
	}
	change.Replace = true
	if !match.any || none.given {
		change.IfMatch = now.Etag
	}
	return nil
}

// noConditions refuses conditions where they would not be heeded.
func (c *call) noConditions() error {
	if !c.conditional() {
		return nil
	}
	return invalid("If-Match and If-None-Match are for single objects; they would not be heeded here")
}

// unlessKnown makes 304 of an answer that the reader has already.
func (c *call) unlessKnown(out reply) (reply, error) {
	none, err := parseTags(c.r.Header, ifNoneMatch)
	if err != nil {
		return reply{}, err
	}
	if out.etag != "" && (none.any || none.weakly(out.etag)) {
		out.status, out.body, out.warnings = http.StatusNotModified, nil, nil
	}
	return out, nil
}

// tagged gives an answer an ETag made of its body and of what else tells two of them
// apart: a secret that has changed is not seen in the body.
func (c *call) tagged(body any, more ...string) (reply, error) {
	text, err := marshal(body)
	if err != nil {
		return reply{}, err
	}
	h := sha256.New()
	h.Write(text)
	for _, m := range more {
		h.Write([]byte{0})
		h.Write([]byte(m))
	}
	return c.unlessKnown(reply{etag: hex.EncodeToString(h.Sum(nil)[:16]), body: text})
}
