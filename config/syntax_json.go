package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// maxNesting bounds how deep lists and mappings of one object may be nested.
// What an object holds needs six.
const maxNesting = 64

var errNesting = fmt.Errorf("lists and mappings are nested more than %d deep", maxNesting)

// looksLikeJSON reports whether data may be JSON; YAML may begin so as well.
func looksLikeJSON(data []byte) bool {
	data = bytes.TrimLeft(data, " \t\r\n")
	return len(data) > 0 && (data[0] == '{' || data[0] == '[')
}

// parseJSON reads JSON texts, one behind the other, into nodes as YAML has them,
// each with its line. YAML's own reader does not know all of JSON: it refuses
// characters that are written as two \u.
func parseJSON(data []byte) (docs []*yaml.Node, err error) {
	r := jsonReader{dec: json.NewDecoder(bytes.NewReader(data)), data: data, line: 1}
	r.dec.UseNumber()
	for {
		n, err := r.value(0)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		docs = append(docs, n)
	}
}

// jsonReader makes nodes of tokens.
type jsonReader struct {
	dec  *json.Decoder
	data []byte
	at   int64 // how far lines are counted
	line int
}

// token returns the next token and its line. io.EOF is only for the end
// between two values.
func (r *jsonReader) token(depth int) (json.Token, int, error) {
	t, err := r.dec.Token()
	if errors.Is(err, io.EOF) && depth > 0 {
		err = io.ErrUnexpectedEOF
	}
	end := r.dec.InputOffset()
	r.line += bytes.Count(r.data[r.at:end], []byte("\n"))
	r.at = end
	return t, r.line, err
}

func (r *jsonReader) value(depth int) (*yaml.Node, error) {
	t, line, err := r.token(depth)
	if err != nil {
		return nil, err
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Line: line}
	switch t := t.(type) {
	case json.Delim:
		if depth >= maxNesting {
			return nil, errNesting
		}
		n.Kind = yaml.SequenceNode
		if t == '{' {
			n.Kind = yaml.MappingNode
		}
		n.Style = yaml.FlowStyle
		return n, r.content(n, depth+1)
	case string:
		n.Tag, n.Value, n.Style = "!!str", t, yaml.DoubleQuotedStyle
	case json.Number:
		n.Tag, n.Value = "!!float", t.String()
		if !bytes.ContainsAny([]byte(t), ".eE") {
			n.Tag = "!!int"
		}
	case bool:
		n.Tag, n.Value = "!!bool", fmt.Sprint(t)
	default:
		n.Tag, n.Value = "!!null", "null"
	}
	return n, nil
}

// content reads what stands in a list or an object, and its end. The
// decoder has seen to it that keys and values take turns.
func (r *jsonReader) content(n *yaml.Node, depth int) error {
	for r.dec.More() {
		item, err := r.value(depth)
		if err != nil {
			return err
		}
		n.Content = append(n.Content, item)
	}
	_, _, err := r.token(depth)
	return err
}
