package rest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/lbshipd/lbshipd/config"
)

// MaxBody bounds the body of a request, in bytes.
const MaxBody = 2 << 20

// What problems call a body. Lines of JSON are not told: places have names, and
// programs write it on one line.
const (
	jsonBody = "body"
	yamlBody = "YAML body"
)

// body is what a request has brought: JSON that is known to be strict, or YAML.
type body struct {
	name string // jsonBody or yamlBody
	data []byte
}

// readBody reads the whole body. It must be JSON or YAML, and say so.
func (c *call) readBody() (body, error) {
	data, err := c.rawBody()
	if err != nil {
		return body{}, err
	}
	if len(bytes.TrimSpace(data)) == 0 {
		return body{}, invalid("the body is empty: send the object as JSON")
	}
	yaml, err := c.isYAML()
	if err != nil {
		return body{}, err
	}
	if yaml {
		return body{yamlBody, data}, nil
	}
	return body{jsonBody, data}, checkJSON(data)
}

// noBody checks that a request has brought nothing that would not be heeded.
func (c *call) noBody() error {
	data, err := c.rawBody()
	if err != nil {
		return err
	}
	if data = bytes.TrimSpace(data); len(data) == 0 {
		return nil
	}
	if _, err := c.isYAML(); err != nil {
		return err
	}
	if err := checkJSON(data); err != nil {
		return err
	}
	if !isEmptyObject(data) {
		return invalid("this takes no body, or an empty object")
	}
	return nil
}

func isEmptyObject(data []byte) bool {
	return data[0] == '{' && len(bytes.TrimSpace(data[1:len(data)-1])) == 0
}

// rawBody reads the bytes of the body, at most MaxBody.
func (c *call) rawBody() ([]byte, error) {
	tooLarge := &failure{status: http.StatusRequestEntityTooLarge, Code: CodeResourceExhausted,
		Message: fmt.Sprintf("the body is more than %v", config.Bytes(MaxBody))}
	if e := c.r.Header.Get("Content-Encoding"); e != "" && !strings.EqualFold(e, "identity") {
		return nil, unsupported("a Content-Encoding is not taken: send the body as it is")
	}
	if c.r.ContentLength > MaxBody {
		// The client is told at once, and the connection closed, rather than
		// reading what will not be used.
		c.w.Header().Set("Connection", "close")
		return nil, tooLarge
	}
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.r.Body, MaxBody))
	var limit *http.MaxBytesError
	if errors.As(err, &limit) {
		return nil, tooLarge
	}
	if err != nil {
		return nil, invalid("the body did not arrive whole")
	}
	return data, nil
}

// isYAML reads the Content-Type. Nothing is guessed: curl's own default says
// that the body is a form, and what a browser sends without asking its user
// (a form, plain text) must not be a write.
func (c *call) isYAML() (bool, error) {
	types := c.r.Header.Values("Content-Type")
	if len(types) != 1 {
		return false, unsupported("say once what the body is: Content-Type: application/json")
	}
	name, params, err := mime.ParseMediaType(types[0])
	if err != nil {
		return false, unsupported("the Content-Type cannot be read; it must be application/json")
	}
	if charset, ok := params["charset"]; ok && !strings.EqualFold(charset, "utf-8") {
		return false, unsupported("the body must be UTF-8")
	}
	switch name {
	case "application/json":
		return false, nil
	case "application/yaml": // RFC 9512
		return true, nil
	}
	return false, unsupported("the body must be JSON: add the header Content-Type: application/json (application/yaml is taken as well)")
}

func unsupported(message string) *failure {
	return &failure{status: http.StatusUnsupportedMediaType, Code: CodeInvalidArgument, Message: message}
}

// draft reads the body as one object of the path's kind.
func (c *call) draft() (*config.Draft, error) {
	b, err := c.readBody()
	if err != nil {
		return nil, err
	}
	d, err := config.Decode(c.kind, b.name, b.data)
	if err != nil {
		return nil, err
	}
	if d.Object == nil || d.Object.ObjectName() == "" {
		return nil, &failure{status: http.StatusBadRequest, Code: CodeInvalidArgument, Message: "name: is missing", Details: []Detail{{Field: "name", Message: "is missing"}}}
	}
	return &d, nil
}
