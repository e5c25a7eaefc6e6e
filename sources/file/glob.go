package file

import (
	"fmt"
	"path"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// globs says which paths are of a source.
type globs struct {
	patterns []pattern
	exclude  []string
}

// pattern is one glob of absolute paths.
type pattern struct {
	text  string
	base  string   // the directory that all its paths are below
	parts []string // its components
	// wide: an alternative holds a "/", so that components do not tell which
	// directories to look into.
	wide bool
}

func newGlobs(paths, exclude []string) (*globs, error) {
	g := new(globs)
	if len(paths) == 0 {
		return nil, fmt.Errorf("no paths are given")
	}
	for _, text := range paths {
		p, err := newPattern(text)
		if err != nil {
			return nil, fmt.Errorf("path %q: %w", text, err)
		}
		g.patterns = append(g.patterns, p)
	}
	for _, text := range exclude {
		if !doublestar.ValidatePattern(text) || text == "" {
			return nil, fmt.Errorf("exclude %q: not a valid pattern", text)
		}
		if strings.Contains(text, "/") && text[0] != '/' {
			return nil, fmt.Errorf("exclude %q: neither an absolute path nor a file name", text)
		}
		g.exclude = append(g.exclude, text)
	}
	return g, nil
}

func newPattern(text string) (pattern, error) {
	if !strings.HasPrefix(text, "/") {
		return pattern{}, fmt.Errorf("not an absolute path")
	}
	if !doublestar.ValidatePattern(text) {
		return pattern{}, fmt.Errorf("not a valid pattern")
	}
	if strings.HasSuffix(text, "/") {
		return pattern{}, fmt.Errorf("names a directory; add * or **")
	}
	for _, part := range strings.Split(text, "/") {
		if part == "." || part == ".." {
			return pattern{}, fmt.Errorf("must not contain %q", part)
		}
	}
	for strings.Contains(text, "//") {
		text = strings.ReplaceAll(text, "//", "/")
	}
	base, _ := doublestar.SplitPattern(text)
	p := pattern{text: text, base: path.Clean(base), parts: strings.Split(text, "/")[1:]}
	depth := 0
	for _, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		case c == '/' && depth > 0:
			p.wide = true
		}
	}
	return p, nil
}

// match reports whether a file of that path is read. An exclusion without a
// "/" is one of file names.
func (g *globs) match(file string) bool {
	for _, text := range g.exclude {
		name := file
		if !strings.Contains(text, "/") {
			name = path.Base(file)
		}
		if doublestar.MatchUnvalidated(text, name) {
			return false
		}
	}
	for i := range g.patterns {
		if doublestar.MatchUnvalidated(g.patterns[i].text, file) {
			return true
		}
	}
	return false
}

// descend reports whether files of the source may be below a directory. A
// symbolic link to a directory is followed unless "**" stands for it.
func (g *globs) descend(dir string, link bool) bool {
	for i := range g.patterns {
		if g.patterns[i].descend(dir, link) {
			return true
		}
	}
	return false
}

func (p *pattern) descend(dir string, link bool) bool {
	if below(p.base, dir) {
		return true
	}
	parts := strings.Split(dir, "/")[1:]
	if p.wide {
		return below(dir, p.base) && !link
	}
	for i, part := range parts {
		if i >= len(p.parts) {
			return false
		}
		if strings.Contains(p.parts[i], "**") {
			return !link
		}
		if i == len(p.parts)-1 || !doublestar.MatchUnvalidated(p.parts[i], part) {
			return false
		}
	}
	return true
}

// above reports whether dir is the base of a glob or above it.
func (g *globs) above(dir string) bool {
	for i := range g.patterns {
		if below(g.patterns[i].base, dir) {
			return true
		}
	}
	return false
}

// below reports whether file is dir or below it.
func below(file, dir string) bool {
	return dir == "/" || file == dir || len(file) > len(dir) && file[len(dir)] == '/' && file[:len(dir)] == dir
}
