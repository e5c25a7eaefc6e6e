package rest

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestStrictJSON: what two readers may read differently is refused, and the place is named.
func TestStrictJSON(t *testing.T) {
	deep := func(n int) string { return strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n) }
	for name, c := range map[string]struct{ body, place, message string }{
		"twice":                {`{"name":"a","name":"b"}`, "name", "given twice"},
		"twice, escaped":       {`{"name":"a","n\u0061me":"b"}`, "name", "given twice"},
		"twice, deep":          {`{"targets":[{},{"loki":{"url":"a","url":"b"}}]}`, "targets[1].loki.url", "given twice"},
		"trailing":             {`{} {}`, "line 1, column 4", "after top-level value"},
		"trailing text":        {"{}\nx", "line 2, column 1", "after top-level value"},
		"trailing comma":       {`{"a":1,}`, "line 1, column 8", "not valid JSON"},
		"trailing comma, list": {`[1,]`, "line 1, column 4", "not valid JSON"},
		"NaN":                  {"{\n \"a\": NaN}", "line 2, column 7", "not valid JSON"},
		"Infinity":             {`{"a":-Infinity}`, "line 1, column 7", "not valid JSON"},
		"hexadecimal":          {`{"a":0x10}`, "line 1, column 7", "not valid JSON"},
		"leading zero":         {`{"a":007}`, "line 1, column 7", "not valid JSON"},
		"plus":                 {`{"a":+7}`, "line 1, column 6", "not valid JSON"},
		"comment":              {`{"a":1 /* */}`, "line 1, column 8", "not valid JSON"},
		"single quotes":        {`{'a':1}`, "line 1, column 2", "not valid JSON"},
		"no quotes":            {`{a:1}`, "line 1, column 2", "not valid JSON"},
		"line break in a text": {"{\"a\":\"\n\"}", "line 1, column 7", "not valid JSON"},
		"NUL":                  {"{\"a\":\"\x00\"}", "line 1, column 7", "not valid JSON"},
		"byte order mark":      {"\ufeff{}", "line 1, column 1", "not valid JSON"},
		"cut":                  {`{"a":"b`, "line 1, column 7", "not valid JSON"},
		"not UTF-8":            {"{\"ä\":\n \"\xff\"}", "line 2, column 3", "0xff is not UTF-8"},
		"overlong UTF-8":       {"{\"a\":\"\xc0\x80\"}", "line 1, column 7", "is not UTF-8"},
		"surrogate in UTF-8":   {"{\"a\":\"\xed\xa0\x80\"}", "line 1, column 7", "is not UTF-8"},
		"half a surrogate":     {`{"a":{"b":"\ud800"}}`, "a.b", "half of a surrogate pair"},
		"other half":           {`{"a":"\udc00\ud800"}`, "a", "half of a surrogate pair"},
		"half and text":        {`{"a":"\ud83dx\ude00"}`, "a", "half of a surrogate pair"},
		"half at the end":      {`["\\\ud83d"]`, "[0]", "half of a surrogate pair"},
		"half in a name":       {`{"\ud800":1}`, "", "half of a surrogate pair"},
		"65 deep":              {deep(65), "", "nested more than 64 deep"},
		"lists, 65 deep":       {strings.Repeat("[", 65) + strings.Repeat("]", 65), "", "nested more than 64 deep"},
		"100000 deep":          {strings.Repeat("[", 100000), "", "nested more than 64 deep"},
		"long name":            {`{"` + strings.Repeat("a", 201) + `":1}`, "", "201 bytes long"},
	} {
		err := checkJSON([]byte(c.body))
		f, ok := err.(*failure)
		if !ok {
			t.Errorf("%s is taken (%v)", name, err)
			continue
		}
		if !strings.Contains(f.Message, c.message) || c.place != "" && f.Details[0].Field != c.place {
			t.Errorf("%s: %q at %q, want %q at %q", name, f.Message, f.Details[0].Field, c.message, c.place)
		}
		if len(f.Message) > 300 {
			t.Errorf("%s: the message is %d bytes long", name, len(f.Message))
		}
	}
	for name, body := range map[string]string{
		"nothing in it": "{}", "number": " 1 ", "text": `"a"`, "64 deep": deep(64), "surrogate pair": `{"a":"\ud83d\ude00"}`, "escaped backslash": `{"a":"\\ud800"}`,
		"the same name in two objects": `[{"a":1},{"a":1}]`, "spaces": "\r\n\t{ \"a\" : [ 1 , true , null , -1.5e3 ] , \"b\" : \"\\\"\" } \n",
	} {
		if err := checkJSON([]byte(body)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzStrictJSON: whatever is taken is JSON to encoding/json, and means the same with
// the first and with the last of fields of one name.
func FuzzStrictJSON(f *testing.F) {
	for _, s := range []string{`{"a":1,"a":2}`, `{"name":"a","journald":{}}`, `[1,[2,{"b":"\ud83d\ude00"}]]`, `"\u0000"`, "{\"a\":\"\xff\"}", `{} x`, ``, ` `, `-`, `{"a":"\\"}`, `"\ud800\u0041"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := checkJSON(data)
		if err == nil && !json.Valid(data) {
			t.Fatalf("%q was taken", data)
		}
		if err != nil {
			return
		}
		if dup := repeated(json.NewDecoder(strings.NewReader(string(data)))); dup {
			t.Fatalf("%q holds a field twice", data)
		}
	})
}

// repeated reports whether an object has two fields of one name, found out in another way.
func repeated(d *json.Decoder) bool {
	type frame struct {
		seen map[string]bool // nil for a list
		key  bool
	}
	var stack []frame
	for {
		token, err := d.Token()
		if err != nil {
			return false
		}
		top := len(stack) - 1
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			stack = stack[:top]
			continue
		}
		if top >= 0 && stack[top].seen != nil {
			if stack[top].key = !stack[top].key; stack[top].key {
				if stack[top].seen[token.(string)] {
					return true
				}
				stack[top].seen[token.(string)] = true
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			stack = append(stack, frame{seen: map[string]bool{}})
		case json.Delim('['):
			stack = append(stack, frame{})
		}
	}
}
