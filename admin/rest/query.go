package rest

import (
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// query holds the parameters of a request, each checked.
type query struct{ values map[string]string }

func (q query) text(p Param) string { return q.values[p.Name] }

// is reports whether a parameter is the one or the other, by itself if it is not given.
func (q query) is(p Param, byDefault bool) bool {
	if text, ok := q.values[p.Name]; ok {
		return text == "true"
	}
	return byDefault
}

// number returns 0 if it is not given.
func (q query) number(p Param) int {
	n, _ := strconv.Atoi(q.values[p.Name]) // checked before
	return n
}

// parseQuery takes the parameters that e knows, each at most once. A
// parameter that is misspelt must not be taken for one that was not given:
// dryrun=true would be a change.
func (e *Endpoint) parseQuery(raw string) (query, error) {
	q := query{values: map[string]string{}}
	given, err := url.ParseQuery(raw)
	if err != nil {
		return q, invalid("the query cannot be read: %s", strings.TrimPrefix(err.Error(), "invalid "))
	}
	for name, values := range given {
		i := slices.IndexFunc(e.Query, func(p Param) bool { return p.Name == name })
		if i < 0 {
			return q, e.unknownParam(name)
		}
		if len(values) > 1 {
			return q, invalid("the parameter %s is given more than once", name)
		}
		if why := e.Query[i].check(values[0]); why != "" {
			return q, &failure{status: 400, Code: CodeInvalidArgument, Message: "the parameter " + name + " " + why, Details: []Detail{{Field: name, Message: why}}}
		}
		q.values[name] = values[0]
	}
	return q, nil
}

func (e *Endpoint) unknownParam(name string) error {
	if len(e.Query) == 0 {
		return invalid("unknown parameter %q: there are none here", cut(name))
	}
	var known []string
	for _, p := range e.Query {
		known = append(known, p.Name)
	}
	return invalid("unknown parameter %q (known: %s)", cut(name), strings.Join(known, ", "))
}

// check says what is wrong with a parameter's value.
func (p Param) check(text string) string {
	switch p.Type {
	case "boolean":
		if text != "true" && text != "false" {
			return "must be true or false"
		}
	case "integer":
		if n, err := strconv.Atoi(text); err != nil || n < 1 || n > p.Max || strconv.Itoa(n) != text {
			return "must be a whole number from 1 to " + strconv.Itoa(p.Max)
		}
	default:
		if len(text) > p.Max {
			return "is longer than " + strconv.Itoa(p.Max) + " bytes"
		}
		if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return "holds what cannot be printed"
		}
	}
	return ""
}

// cut shortens what a message quotes.
func cut(text string) string {
	const most = 64
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "..."
}
