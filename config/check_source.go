package config

import (
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // time zones are known on a machine without a zone database too

	"github.com/bmatcuk/doublestar/v4"
)

// RegexPrefix begins a logFormat that names a Format or a built-in expression.
const RegexPrefix = "regex:"

// logFormats are the names that logFormat takes, beside regex:NAME.
var logFormats = []string{"raw", "json", "logfmt", "klog", "zap-json", "syslog-rfc3164", "syslog-rfc5424", "cri", "auto"}

// LogFormats returns every name that logFormat takes, beside regex:NAME.
func LogFormats() []string { return slices.Clone(logFormats) }

// BuiltinFormats are the names that "regex:NAME" takes without a Format of
// that name. Whoever links the formats in sets it before the first Parse.
var BuiltinFormats []string

// Limits of a source's texts.
const (
	maxGlob       = 4096 // bytes; PATH_MAX
	maxUnit       = 255  // bytes; systemd's UNIT_NAME_MAX
	maxIdentifier = 1024
	maxMatch      = 4096
	maxFieldName  = 64 // journald's own limit
)

// source checks one source.
func (k *checker) source(p path, s *Source) {
	k.exactlyOne(p, []string{"journald", "file"}, s.Journald != nil, s.File != nil)
	if s.Journald != nil {
		k.journald(p.dot("journald"), s.Journald)
	}
	if s.File != nil {
		k.failIf(NoFileSource != "", p.dot("file"), NoFileSource)
		k.file(p.dot("file"), s.File)
	}
	k.logFormat(p.dot("logFormat"), s.LogFormat)
	k.labels(p.dot("labels"), s.Labels)
	k.oneOf(p.dot("startAt"), s.StartAt, []string{"end", "beginning"})
	k.timeZone(p.dot("timeZone"), s.TimeZone)
	k.nodes(p, s.Nodes, s.NodeSelector)
}

func (k *checker) logFormat(p path, format string) {
	name, isRegex := strings.CutPrefix(format, RegexPrefix)
	if !isRegex {
		if slices.Contains(logFormats, format) {
			return
		}
		if known := k.regexNames(); slices.Contains(known, format) {
			k.fail(p, "%q is not known, did you mean %q?", format, RegexPrefix+format)
			return
		}
		k.oneOf(p, format, append(LogFormats(), "regex:NAME"))
		return
	}
	known := k.regexNames()
	if slices.Contains(known, name) || k.alone && validName.MatchString(name) {
		return
	}
	if reason, gone := k.gone[key{KindFormat, name}]; gone {
		k.fail(p, "format %q %s", cut(name), because(reason))
		return
	}
	if len(known) == 0 {
		k.fail(p, "there is no format %q; add it under formats", cut(name))
		return
	}
	k.fail(p, "there is no format %q%s", cut(name), didYouMean(name, known))
}

// regexNames are the names that may follow "regex:".
func (k *checker) regexNames() []string {
	var known []string
	for i := range k.c.Formats {
		known = append(known, k.c.Formats[i].Name)
	}
	return append(known, BuiltinFormats...)
}

func (k *checker) timeZone(p path, zone string) {
	if zone == "" {
		k.fail(p, "is empty: write Local, UTC or a name such as Europe/Berlin")
		return
	}
	if _, err := time.LoadLocation(zone); err != nil {
		k.fail(p, "%q is no time zone: write Local, UTC or a name such as Europe/Berlin", cut(zone))
	}
}

// file checks what files are read.
func (k *checker) file(p path, f *FileSource) {
	if len(f.Paths) == 0 {
		k.fail(p.dot("paths"), "is missing: give at least one path")
	}
	for i, glob := range f.Paths {
		k.glob(p.dot("paths").index(i), glob)
	}
	for i, glob := range f.Exclude {
		k.glob(p.dot("exclude").index(i), glob)
	}
}

// mixedStars is a ** that is not a whole step of a path, where it is a mere *.
var mixedStars = regexp.MustCompile(`[^/]\*\*|\*\*[^/]`)

func (k *checker) glob(p path, glob string) {
	if !k.plain(p, "path", glob, maxGlob) {
		return
	}
	switch {
	case !strings.HasPrefix(glob, "/"):
		k.fail(p, "%q must be absolute (begin with /)", cut(glob))
	case !doublestar.ValidatePattern(glob):
		k.fail(p, "%q is no valid pattern: a [, { or \\ is left open", cut(glob))
	case strings.HasSuffix(glob, "/"):
		k.fail(p, "%q names a folder; write %q for the files in it", cut(glob), cut(glob)+"*")
	case slices.Contains(strings.Split(glob, "/"), ".."):
		k.fail(p, "%q holds \"..\", which no file's path has", cut(glob))
	case mixedStars.MatchString(glob):
		k.warn(p, "%q: ** matches folders only where it stands alone between two slashes; here it is a *", cut(glob))
	}
}

// journald checks what is taken out of the journal.
func (k *checker) journald(p path, j *JournaldSource) {
	for i, unit := range j.Units {
		k.unit(p.dot("units").index(i), unit)
	}
	k.plainList(p.dot("identifiers"), "identifier", j.Identifiers, maxIdentifier)
	for i, match := range j.Matches {
		k.match(p.dot("matches").index(i), match)
	}
	for i, field := range j.Fields {
		if field != "*" {
			k.journalField(p.dot("fields").index(i), field)
		}
	}
	if j.Directory == "" {
		return
	}
	d := p.dot("directory")
	if !k.plain(d, "path", j.Directory, maxGlob) {
		return
	}
	if !filepath.IsAbs(j.Directory) {
		k.fail(d, "%q must be absolute (begin with /)", cut(j.Directory))
	}
}

// validUnit is a unit name (systemd.unit(5)) or a glob of them (fnmatch).
var validUnit = regexp.MustCompile(`^[a-zA-Z0-9:_.\\@*?\[\]!^-]+$`)

func (k *checker) unit(p path, unit string) {
	if !k.plain(p, "unit", unit, maxUnit) {
		return
	}
	switch {
	case strings.Contains(unit, "/"):
		k.fail(p, "%q is a path; a unit's name is wanted, as systemctl shows it", unit)
	case !validUnit.MatchString(unit):
		k.fail(p, "%q is no unit name: letters, digits and \":-_.\\@\" are allowed, and the globs * ? [...]", unit)
	case strings.Contains(unit, "[") && !doublestar.ValidatePattern(unit):
		k.fail(p, "%q is no valid pattern: a [ is left open", unit)
	}
}

func (k *checker) match(p path, match string) {
	field, _, ok := strings.Cut(match, "=")
	switch {
	case match == "":
		k.fail(p, "is empty: write FIELD=value")
	case len(match) > maxMatch:
		k.fail(p, "is %d bytes long, more than %d", len(match), maxMatch)
	case match == "+":
		k.fail(p, "journalctl's + is not known; make a source of its own for each alternative")
	case !ok:
		k.fail(p, "%q must be FIELD=value, such as _TRANSPORT=kernel", cut(match))
	default:
		k.journalField(p, field)
	}
}

// validField is journald's own rule (journal_field_valid).
var validField = regexp.MustCompile(`^[A-Z_][A-Z0-9_]*$`)

func (k *checker) journalField(p path, field string) {
	switch {
	case strings.HasPrefix(field, "__"):
		k.fail(p, "%q is an address in the journal and not a field", cut(field))
	case len(field) > maxFieldName:
		k.fail(p, "journal field %q is %d letters long, more than %d", cut(field), len(field), maxFieldName)
	case !validField.MatchString(field):
		upper := strings.ToUpper(field)
		if upper != field && validField.MatchString(upper) {
			k.fail(p, "%q is no journal field, did you mean %q?", cut(field), cut(upper))
			return
		}
		k.fail(p, "%q is no journal field: A-Z, 0-9 and \"_\" are allowed, not beginning with a digit", cut(field))
	}
}
