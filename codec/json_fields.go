package codec

import (
	"fmt"
	"reflect"
	"strings"
	"unicode"

	"github.com/topicbus/pubsub"
)

// jsonField is a field that encoding/json writes of a struct: one of its own, or
// one of a struct embedded in it.
type jsonField struct {
	jsonPart
	name    string // in JSON
	tagged  bool   // by its tag
	index   []int  // in the struct, then in what is embedded
	path    string // the same in Go: .Base.Name
	pointer bool   // there is a pointer on the way, which may be nil
	// hidden is the way to an embedded pointer to a struct that is not exported.
	// Decoding cannot set that.
	hidden     string
	hiddenType reflect.Type
}

// jsonFields returns the fields that encoding/json writes of a struct, by its
// rules: of fields with one name the one that is embedded the least deeply hides
// the others, as in Go. It is an error if two of those are equally deep, for
// then encoding/json leaves out one or both.
func jsonFields(p jsonPart) ([]jsonField, error) {
	var found []jsonField
	place := make(map[string]int) // in found, by name
	visited := make(map[reflect.Type]bool)
	level := []jsonField{{jsonPart: p}} // structs, all equally deep
	for len(level) > 0 {
		var deeper []jsonField
		count := make(map[reflect.Type]int)
		for _, s := range level {
			// A third of a type has nothing to say that the second has not.
			if count[s.Type]++; visited[s.Type] || count[s.Type] > 2 {
				continue
			}
			for i := range s.NumField() {
				f, written, embedded := s.field(i)
				switch {
				case embedded:
					deeper = append(deeper, f)
				case written:
					first, again := place[f.name]
					if !again {
						place[f.name] = len(found)
						found = append(found, f)
					} else if other := found[first]; len(other.index) == len(f.index) {
						return nil, conflict(other, f)
					}
				}
			}
		}
		for _, s := range level {
			visited[s.Type] = true
		}
		level = deeper
	}
	return found, nil
}

// field returns field i of the struct s. Of an embedded struct only the fields
// are written.
func (s *jsonField) field(i int) (f jsonField, written, embedded bool) {
	sf := s.Field(i)
	t := sf.Type
	if t.Kind() == reflect.Pointer && t.Name() == "" {
		t = t.Elem()
	}
	isStruct := sf.Anonymous && t.Kind() == reflect.Struct
	tag := sf.Tag.Get("json")
	if tag == "-" || !sf.IsExported() && !isStruct {
		return f, false, false
	}
	f = jsonField{
		jsonPart: s.with(sf.Type),
		index:    append(s.index[:len(s.index):len(s.index)], i),
		path:     s.path + "." + sf.Name,
		pointer:  s.pointer,
		hidden:   s.hidden, hiddenType: s.hiddenType,
	}
	f.name, _, _ = strings.Cut(tag, ",")
	if f.tagged = validName(f.name); f.tagged {
		return f, true, false
	}
	if !isStruct {
		f.name = sf.Name
		return f, true, false
	}
	if f.Kind() == reflect.Pointer {
		f.jsonPart, f.pointer = f.elem(), true
		if !sf.IsExported() && f.hidden == "" {
			f.hidden, f.hiddenType = f.path, f.Type
		}
	}
	return f, false, true
}

// validName reports whether encoding/json takes a name out of a tag.
func validName(name string) bool {
	for _, r := range name {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", r) && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return false
		}
	}
	return name != ""
}

// conflict is the error about two fields with one name.
func conflict(a, b jsonField) error {
	if a.tagged && !b.tagged {
		a, b = b, a
	}
	which := "so neither would be written"
	if a.tagged != b.tagged {
		which = "and by its tag, so this one would not be written"
	}
	return at(a.path, fmt.Errorf("%w: the field %s has the JSON name %q as well, %s", pubsub.ErrInvalidArgument, b.path[1:], a.name, which))
}
