package filestore

import (
	"bytes"
	"errors"
	"sort"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// editor changes a text by splices, at places that it finds through the nodes
// that the YAML library reads from it.
type editor struct {
	text    []byte
	starts  []int // where each line begins
	newline string
	root    *yaml.Node
	splices []splice
}

// splice puts text in place of text[from:to].
type splice struct {
	from, to int
	text     string
}

func newEditor(text []byte) (*editor, error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if len(doc.Content) != 1 || doc.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("the file is no mapping")
	}
	e := &editor{text: text, starts: lineStarts(text), newline: "\n", root: doc.Content[0]}
	if line, _, found := bytes.Cut(text, []byte("\n")); found && bytes.HasSuffix(line, []byte("\r")) {
		e.newline = "\r\n"
	}
	return e, nil
}

// lineStarts returns where lines begin, with the line breaks that YAML knows.
func lineStarts(text []byte) []int {
	starts := []int{0}
	for i := 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		i += size
		switch r {
		case '\r':
			if i < len(text) && text[i] == '\n' {
				i++
			}
		case '\n', 0x85, 0x2028, 0x2029:
		default:
			continue
		}
		starts = append(starts, i)
	}
	return starts
}

// result returns the text with all splices made.
func (e *editor) result() []byte {
	sort.SliceStable(e.splices, func(i, j int) bool { return e.splices[i].from < e.splices[j].from })
	var out bytes.Buffer
	at := 0
	for _, s := range e.splices {
		out.Write(e.text[at:max(at, s.from)])
		out.WriteString(s.text)
		at = max(at, s.to)
	}
	out.Write(e.text[at:])
	return out.Bytes()
}

func (e *editor) splice(from, to int, text string) {
	if e.newline != "\n" {
		text = strings.ReplaceAll(text, "\n", e.newline)
	}
	e.splices = append(e.splices, splice{from, to, text})
}

// offset returns where a node begins. Columns count characters.
func (e *editor) offset(n *yaml.Node) int {
	at := e.lineStart(n.Line)
	if n.Line == 1 && bytes.HasPrefix(e.text, []byte("\ufeff")) {
		at += len("\ufeff")
	}
	for range n.Column - 1 {
		if at >= len(e.text) {
			return len(e.text)
		}
		_, size := utf8.DecodeRune(e.text[at:])
		at += size
	}
	return at
}

// lineStart returns where a line begins, the text's end for one behind the last.
func (e *editor) lineStart(line int) int {
	if line-1 >= len(e.starts) {
		return len(e.text)
	}
	return e.starts[max(line, 1)-1]
}

// lineEnd returns where a line ends, without its line break.
func (e *editor) lineEnd(line int) int {
	end := e.lineStart(line + 1)
	return e.lineStart(line) + len(strings.TrimRight(string(e.text[e.lineStart(line):end]), "\r\n\u0085\u2028\u2029"))
}

func (e *editor) line(line int) string { return string(e.text[e.lineStart(line):e.lineEnd(line)]) }

// lastLine returns the last line of what begins on line first at column indent+1
// and ends before line limit: without blank lines, and without comments that
// do not stand deeper than it, which belong to what follows.
func (e *editor) lastLine(first, limit, indent int) int {
	last := min(limit, len(e.starts)+1) - 1
	for ; last > first; last-- {
		line := e.line(last)
		rest := strings.TrimLeft(line, " ")
		trailing := rest == "" || strings.HasPrefix(rest, "#") && len(line)-len(rest) <= indent
		if !trailing && !(indent == 0 && (strings.HasPrefix(line, "---") || strings.HasPrefix(line, "..."))) {
			break
		}
	}
	return max(first, last)
}

// endLimit is behind the last line.
func (e *editor) endLimit() int { return len(e.starts) + 1 }

// onlySpaceBefore reports whether at is the first thing on its line.
func (e *editor) onlySpaceBefore(at, line int) bool {
	return strings.TrimLeft(string(e.text[e.lineStart(line):at]), " ") == ""
}

// flowEnd returns where the list or mapping in brackets ends that begins at at.
func (e *editor) flowEnd(at int) (int, bool) {
	if at >= len(e.text) || e.text[at] != '{' && e.text[at] != '[' {
		return 0, false
	}
	depth, before := 0, byte('[') // before: the last character that is no space
	for i := at; i < len(e.text); i++ {
		switch c := e.text[i]; {
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return i + 1, true
			}
		case (c == '"' || c == '\'') && strings.IndexByte("{[,:", before) >= 0:
			end, ok := e.quoteEnd(i)
			if !ok {
				return 0, false
			}
			i = end - 1
		case c == '#' && i > 0 && strings.IndexByte(" \t\r\n", e.text[i-1]) >= 0:
			for i+1 < len(e.text) && e.text[i+1] != '\n' {
				i++
			}
			continue
		}
		if c := e.text[i]; c > ' ' {
			before = c
		}
	}
	return 0, false
}

// quoteEnd returns where the quoted text ends that begins at at.
func (e *editor) quoteEnd(at int) (int, bool) {
	quote := e.text[at]
	for i := at + 1; i < len(e.text); i++ {
		switch {
		case e.text[i] == '\\' && quote == '"':
			i++
		case e.text[i] != quote:
		case quote == '\'' && i+1 < len(e.text) && e.text[i+1] == '\'':
			i++
		default:
			return i + 1, true
		}
	}
	return 0, false
}

// valueEnd returns where a value ends that begins at at and is not in brackets or is,
// and stands on one line unless it is; false if it cannot be told.
func (e *editor) valueEnd(at, line int) (int, bool) {
	if at >= e.lineEnd(line) {
		return 0, false
	}
	switch e.text[at] {
	case '{', '[':
		return e.flowEnd(at)
	case '"', '\'':
		return e.quoteEnd(at)
	case '|', '>', '&', '!':
		return 0, false
	}
	end := e.lineEnd(line)
	if i := bytes.Index(e.text[at:end], []byte(" #")); i >= 0 {
		end = at + i
	}
	return at + len(bytes.TrimRight(e.text[at:end], " \t")), true
}
