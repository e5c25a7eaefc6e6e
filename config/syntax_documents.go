package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// parseDocuments reads a text of JSON values or YAML documents, of at most limit
// bytes. It returns the root of each that is not empty, or the problems.
func parseDocuments(file string, data []byte, limit int) ([]*yaml.Node, Problems) {
	at := func(line int, format string, args ...any) Problems {
		return Problems{{File: file, Line: line, Message: fmt.Sprintf(format, args...)}}
	}
	if len(data) > limit {
		return nil, at(1, "is %d bytes long, more than %d", len(data), limit)
	}
	if line, what := badText(data); what != "" {
		return nil, at(line, "%s", what)
	}
	if looksLikeJSON(data) {
		docs, err := parseJSON(data)
		if err == nil {
			return withoutNulls(docs), nil
		}
		if errors.Is(err, errNesting) {
			return nil, at(1, "%v", err)
		}
	}
	docs, err := yamlDocuments(data)
	if err != nil {
		if tabs := tabbedLines(file, data); len(tabs) > 0 && !looksLikeJSON(data) {
			return nil, tabs
		}
		return nil, Problems{yamlProblem(file, data, err)}
	}
	for _, n := range docs {
		if deep := tooDeep(n, maxNesting); deep != nil {
			return nil, at(max(deep.Line, 1), "%v", errNesting)
		}
	}
	return withoutNulls(docs), nil
}

// maxDocuments bounds the documents of one text: each of them may hold many objects.
const maxDocuments = 10_000

// yamlDocuments returns the roots of all documents.
func yamlDocuments(data []byte) (docs []*yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil { // see parseYAML
			docs, err = nil, fmt.Errorf("cannot be read as YAML (%v)", r)
		}
	}()
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, err
		}
		if len(docs) == maxDocuments {
			return nil, fmt.Errorf("line %d: more than %d documents", doc.Line, maxDocuments)
		}
		docs = append(docs, doc.Content...)
	}
}

func withoutNulls(docs []*yaml.Node) (out []*yaml.Node) {
	for _, n := range docs {
		if !isNull(n) {
			out = append(out, n)
		}
	}
	return out
}

// tooDeep returns a node that is nested deeper than limit, nil if there is none.
// What an alias stands for is not looked at: decoding follows only what an
// object has fields for.
func tooDeep(n *yaml.Node, limit int) *yaml.Node {
	if limit < 0 {
		return n
	}
	for _, inner := range n.Content {
		if deep := tooDeep(inner, limit-1); deep != nil {
			return deep
		}
	}
	return nil
}
