package support

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/scrub"
)

// Limits of what is read to learn what is secret.
const (
	maxStateFile  = 128 << 20 // bytes of a history or a copy of etcd
	maxSecretFile = 256 << 10 // bytes of a key or password
	maxSecrets    = 1000      // files of a folder of them
	// minTenant is how long a tenant must be to be looked for everywhere: a short one is a common word.
	minTenant = 10
)

// secrets learns all secrets that the daemon may know, so that none of them is shown wherever
// it turns up. What cannot be read is noted: then only what looks like a secret is hidden.
func (g *gatherer) secrets() {
	if g.settings.Config != "" {
		text, _, err := config.ReadFile(g.settings.Config, config.MaxFileBytes)
		if err != nil && !g.settings.Defaults {
			g.note("secrets of the configuration", err)
		}
		g.secretsOf(text, filepath.Dir(g.settings.Config))
	}
	if dir := g.settings.DataDir; dir != "" {
		// The last versions of objects, and what etcd held.
		for _, name := range []string{"history", "history.damaged"} {
			g.secretsOf(g.state(filepath.Join(dir, name)), "")
		}
		g.secretsOfCopy(g.state(filepath.Join(dir, "etcd-cache")))
	}
	folders := []string{g.path("/etc/lbshipd/credentials"), g.path("/run/credentials/" + g.o.Unit)}
	if g.daemon != nil {
		if dir := g.daemon.env["CREDENTIALS_DIRECTORY"]; dir != "" {
			folders = append(folders, dir)
		}
		for name, value := range g.daemon.env {
			if scrub.Names(name) {
				g.scrub.Add(value)
			}
			g.userinfo(value)
		}
		for _, arg := range g.daemon.args {
			g.userinfo(arg)
		}
	}
	for _, path := range append(g.settings.Secrets, folders...) {
		g.secretFile(path)
	}
}

// state reads a file of the data directory, of which there may be none.
func (g *gatherer) state(path string) []byte {
	text, _, err := config.ReadFile(path, maxStateFile)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		g.note("secrets of the daemon's state", err)
	}
	return text
}

// secretsOf learns what is secret in a configuration, a history, or an object, YAML
// or JSON. dir is what relative names of files are relative to.
func (g *gatherer) secretsOf(text []byte, dir string) {
	if len(text) == 0 {
		return
	}
	visit(text, func(key, value string) {
		switch {
		case key == "tenantId":
			if len(value) >= minTenant {
				g.scrub.Add(value)
			}
		case namesSecretFile(key):
			if !filepath.IsAbs(value) {
				value = filepath.Join(dir, value)
			}
			g.secretFile(value)
		case scrub.Names(key):
			g.scrub.Add(value)
		}
		g.userinfo(value)
	})
}

func namesSecretFile(key string) bool {
	return key == "keyFile" || key == "passwordFile" || key == "bearerTokenFile"
}

// secretsOfCopy learns what is secret in the daemon's copy of what etcd held.
func (g *gatherer) secretsOfCopy(text []byte) {
	var copied struct {
		Keys []struct {
			Value []byte `json:"value"`
		} `json:"keys"`
	}
	line, _, _ := strings.Cut(string(text), "\n")
	if line == "" || json.Unmarshal([]byte(line), &copied) != nil {
		return // damaged: nothing of it is shown either
	}
	for _, k := range copied.Keys {
		g.secretsOf(k.Value, "")
	}
}

// secretFile makes known what is in a file, or in the files of a folder.
func (g *gatherer) secretFile(path string) {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		entries, err := os.ReadDir(path)
		if err != nil {
			g.note("secrets", err)
		}
		for _, e := range entries[:min(len(entries), maxSecrets)] {
			if !e.IsDir() {
				g.secretFile(filepath.Join(path, e.Name()))
			}
		}
		return
	}
	text, err := readSome(path, maxSecretFile)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		g.note("secrets", err)
		return
	}
	g.scrub.Add(string(text))
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "-----") {
			continue
		}
		for word := range strings.FieldsSeq(line) {
			if len(word) >= minTenant {
				g.scrub.Add(word) // a line of a key file: ID KEY
			}
		}
	}
}

// userURL finds the credentials of a URL.
var userURL = regexp.MustCompile(`[A-Za-z][A-Za-z0-9+.-]*://([^\s"'<>/@:]*):?([^\s"'<>@]*)@`)

// userinfo makes known what is secret in the URLs of a text.
func (g *gatherer) userinfo(text string) {
	for _, m := range userURL.FindAllStringSubmatch(text, -1) {
		for i, part := range m[1:] {
			if i == 0 && len(part) < minTenant {
				continue // a user's name; a longer one may be a token
			}
			g.scrub.Add(part)
			if plain, err := url.PathUnescape(part); err == nil {
				g.scrub.Add(plain)
			}
		}
	}
}

// visit calls f with each single value of a YAML or JSON text, and the name of the field that
// it is in; values of a list are in the list's field. A text that is neither is gone through line by line.
func visit(text []byte, f func(key, value string)) {
	// JSON first: not all of it is YAML (\ud83d\ude00, characters that YAML refuses), and YAML is slow.
	var value any
	if json.Unmarshal(text, &value) == nil {
		visitJSON(value, "", f)
		return
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err != nil {
		for line := range strings.Lines(string(text)) {
			key, value, ok := strings.Cut(strings.TrimLeft(strings.TrimSpace(line), "- "), ":")
			if ok {
				f(strings.Trim(key, `"' `), strings.Trim(strings.TrimSpace(value), `"',`))
			}
			for _, m := range flowField.FindAllStringSubmatch(line, -1) {
				f(m[1], strings.Trim(m[2], `"'`))
			}
		}
		return
	}
	visitNode(&root, "", 0, f)
}

// flowField is a field of a map that is written on one line.
var flowField = regexp.MustCompile(`([A-Za-z_.-]+)["']?[ \t]*:[ \t]*("(?:[^"\\]|\\.)*"|'[^']*'|[^\s,{}\[\]"']+)`)

func visitNode(n *yaml.Node, key string, depth int, f func(key, value string)) {
	if depth > 100 {
		return
	}
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			visitNode(n.Content[i+1], n.Content[i].Value, depth+1, f)
		}
	case yaml.ScalarNode:
		f(key, n.Value)
	case yaml.AliasNode:
		if n.Alias.Kind == yaml.ScalarNode {
			f(key, n.Alias.Value) // it may stand in a field of another name where its anchor is
		}
	default: // lists and documents; an alias of more than a value is visited where its anchor is
		for _, c := range n.Content {
			visitNode(c, key, depth+1, f)
		}
	}
}

func visitJSON(value any, key string, f func(key, value string)) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			visitJSON(inner, name, f)
		}
	case []any:
		for _, inner := range v {
			visitJSON(inner, key, f)
		}
	case nil:
	default:
		f(key, fmt.Sprint(v))
	}
}
