package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxFileBytes bounds a configuration file.
const MaxFileBytes = 4 << 20

// parseSyntax reads data as one YAML document. It returns the root node, or
// the problems: those of the text itself, with their lines, else the parser's.
func parseSyntax(file string, data []byte) (*yaml.Node, Problems) {
	at := func(line int, format string, args ...any) Problems {
		return Problems{{File: file, Line: line, Message: fmt.Sprintf(format, args...)}}
	}
	if len(data) > MaxFileBytes {
		return nil, at(1, "file is %d bytes long, more than %d", len(data), MaxFileBytes)
	}
	if line, what := badText(data); what != "" {
		return nil, at(line, "%s", what)
	}
	root, more, err := parseYAML(data)
	if err != nil {
		if tabs := tabbedLines(file, data); len(tabs) > 0 {
			return nil, tabs
		}
		return nil, Problems{yamlProblem(file, data, err)}
	}
	if root == nil || isNull(root) {
		return nil, at(1, "nothing in it: write sources and targets, or \"sources: []\" to read nothing on purpose")
	}
	if more > 0 {
		return nil, at(more, "a second YAML document begins; write everything into one")
	}
	return root, nil
}

// parseYAML returns the first document's root, nil if there is none, and the
// line at which a second document begins, 0 if there is none.
func parseYAML(data []byte) (root *yaml.Node, more int, err error) {
	defer func() {
		// The library panics on some broken input instead of returning an error.
		if r := recover(); r != nil {
			root, err = nil, fmt.Errorf("cannot be read as YAML (%v)", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, 0, nil
	} else if err != nil {
		return nil, 0, err
	}
	if len(doc.Content) > 0 {
		root = doc.Content[0]
	}
	switch err := dec.Decode(&second); {
	case errors.Is(err, io.EOF):
		return root, 0, nil
	case err != nil:
		return nil, 0, err
	}
	return root, max(second.Line, 1), nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

var (
	yamlErrorLine    = regexp.MustCompile(`^line (\d+): `)
	yamlUnknownAlias = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
	// These the library gives with the line before the one at which the
	// block or list begins that is not as it should be.
	yamlBlockError = regexp.MustCompile(`^did not find expected (key|node content|'-' indicator|',' or ['"][\]}]['"])$`)
)

// yamlProblem makes a Problem of the library's message. The library names the
// line at which the enclosing block begins, or none; what a user wants is
// where it went wrong, which is as far as the library has read.
func yamlProblem(file string, data []byte, err error) Problem {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if m := yamlErrorLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	if m := yamlUnknownAlias.FindStringSubmatch(message); m != nil {
		before, _, _ := bytes.Cut(data, []byte("*"+m[1]))
		line = 1 + bytes.Count(before, []byte("\n"))
		// The name is left out: it may be a password that begins with "*".
		message = `a value begins with "*", which refers to an anchor (&) that is not there; put it in quotes if it is text`
	}
	if begin := line + 1; line == 0 || yamlBlockError.MatchString(message) {
		line = min(max(begin, linesRead(data)), 1+bytes.Count(data, []byte("\n")))
		if begin > 1 && begin < line {
			message += fmt.Sprintf(", in what begins on line %d", begin)
		}
	}
	return Problem{File: file, Line: line, Message: "not valid YAML: " + message}
}

// linesRead returns how many lines of data the library reads before it gives up.
func linesRead(data []byte) int {
	r := lineReader{rest: data}
	defer func() { _ = recover() }() // see parseYAML
	var n yaml.Node
	for dec := yaml.NewDecoder(&r); dec.Decode(&n) == nil; {
	}
	return r.lines
}

// lineReader gives one line per Read and counts them.
type lineReader struct {
	rest  []byte
	lines int
	open  bool // the last Read ended within a line
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	line, _, _ := bytes.Cut(r.rest, []byte("\n"))
	n := copy(p, r.rest[:min(len(line)+1, len(r.rest))])
	if !r.open {
		r.lines++
	}
	r.open = r.rest[n-1] != '\n'
	r.rest = r.rest[n:]
	return n, nil
}

// badText finds what no text file holds, of which the YAML library gives no
// line: bytes that are not UTF-8, and control characters.
func badText(data []byte) (line int, what string) {
	line = 1
	for i := 0; i < len(data); {
		if data[i] < utf8.RuneSelf {
			switch b := data[i]; {
			case b == '\n':
				line++
			case b < ' ' && b != '\t' && b != '\r', b == 0x7f:
				return line, fmt.Sprintf("control character 0x%02x; is this a text file?", b)
			}
			i++
			continue
		}
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return line, fmt.Sprintf("byte 0x%02x is not UTF-8; is this a text file?", data[i])
		}
		i += size
	}
	return 0, ""
}

// tabbedLines finds the lines that a tab indents, the most frequent reason
// for which YAML is refused, and the one that its message does not name.
func tabbedLines(file string, data []byte) (p Problems) {
	for n, line := range bytes.Split(data, []byte("\n")) {
		rest := bytes.TrimLeft(line, " ")
		if len(rest) > 0 && rest[0] == '\t' && len(bytes.TrimSpace(rest)) > 0 && len(p) < maxProblems {
			p = append(p, Problem{File: file, Line: n + 1, Message: "indented with a tab; YAML takes only spaces"})
		}
	}
	return p
}
