package rest

import (
	"bytes"
	_ "embed"
	"encoding/json"
)

// openapi is made by internal/docgen from the Go types and Endpoints.
//
//go:embed openapi.json
var openapi []byte

// versionPlace is what stands for the daemon's version in the file.
const versionPlace = `"version": "devel"`

// document returns the OpenAPI document with the daemon's version.
func document(version string) []byte {
	if version == "" {
		return openapi
	}
	text, err := json.Marshal(version)
	if err != nil { // a text: cannot be
		return openapi
	}
	return bytes.Replace(openapi, []byte(versionPlace), append([]byte(`"version": `), text...), 1)
}

func (c *call) document() (reply, error) { return reply{body: json.RawMessage(c.openapi)}, nil }
