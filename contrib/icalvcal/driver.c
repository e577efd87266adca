/* libical's own vCalendar: `driver convert FILE.vcs` writes what its icalvcal makes of every calendar in the file as
   iCalendar; `driver expand FILE.ics` writes, for every event and to-do, its people and its instances over ten years.
   Both sides of the comparison are expanded by this same code. A crash ends one file only: see compare.py. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <libical/ical.h>
#include <libical/icalvcal.h>
#include <libical/vcc.h>

#define MOST 4000
#define YEARS 10

static char *slurp(const char *name, size_t *length)
{
    FILE *file = fopen(name, "rb");
    if (!file) {
        perror(name);
        exit(74);
    }
    size_t room = 1 << 16;
    char *text = malloc(room);
    *length = 0;
    for (size_t got; text && (got = fread(text + *length, 1, room - *length - 1, file)) > 0;) {
        *length += got;
        if (room - *length < 2)
            text = realloc(text, room *= 2);
    }
    fclose(file);
    if (!text)
        exit(71);
    text[*length] = 0;
    return text;
}

static int convert(const char *name)
{
    size_t length;
    char *text = slurp(name, &length);
    int found = 0;
    for (VObject *object = Parse_MIME(text, length); object; object = nextVObjectInList(object)) {
        icalcomponent *calendar = icalvcal_convert(object);
        if (calendar) {
            found++;
            fputs(icalcomponent_as_ical_string(calendar), stdout);
        }
    }
    return found ? 0 : 65;
}

static int compare_times(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct list {
    char *at[MOST * 2];
    int count;
};

static void put(struct list *list, struct icaltimetype time)
{
    if (!icaltime_is_null_time(time) && list->count < MOST * 2)
        list->at[list->count++] = strdup(icaltime_as_ical_string(time));
}

static void expand_rules(icalcomponent *event, icalproperty_kind kind, struct icaltimetype start, struct list *out)
{
    struct icaltimetype last = start;
    last.year += YEARS;
    for (icalproperty *p = icalcomponent_get_first_property(event, kind); p; p = icalcomponent_get_next_property(event, kind)) {
        struct icalrecurrencetype rule = kind == ICAL_RRULE_PROPERTY ? icalproperty_get_rrule(p) : icalproperty_get_exrule(p);
        icalrecur_iterator *iterator = icalrecur_iterator_new(rule, start);
        if (!iterator)
            continue;
        for (int n = 0; n < MOST; n++) {
            struct icaltimetype time = icalrecur_iterator_next(iterator);
            if (icaltime_is_null_time(time) || icaltime_compare(time, last) > 0)
                break;
            put(out, time);
        }
        icalrecur_iterator_free(iterator);
    }
}

static void expand_dates(icalcomponent *event, icalproperty_kind kind, struct list *out)
{
    for (icalproperty *p = icalcomponent_get_first_property(event, kind); p; p = icalcomponent_get_next_property(event, kind)) {
        if (kind == ICAL_EXDATE_PROPERTY) {
            put(out, icalproperty_get_exdate(p));
        } else {
            struct icaldatetimeperiodtype date = icalproperty_get_rdate(p);
            put(out, icaltime_is_null_time(date.time) ? date.period.start : date.time);
        }
    }
}

static void expand_event(icalcomponent *event)
{
    static struct list in, out;
    in.count = out.count = 0;
    const char *uid = icalcomponent_get_uid(event);
    printf("%s %s\n", icalcomponent_isa(event) == ICAL_VTODO_COMPONENT ? "VTODO" : "VEVENT", uid ? uid : "");
    static const icalproperty_kind people[] = {ICAL_ATTENDEE_PROPERTY, ICAL_ORGANIZER_PROPERTY};
    for (size_t i = 0; i < sizeof people / sizeof people[0]; i++) {
        for (icalproperty *p = icalcomponent_get_first_property(event, people[i]); p; p = icalcomponent_get_next_property(event, people[i])) {
            const char *value = icalproperty_get_value_as_string(p);
            const char *name = icalproperty_get_parameter_as_string(p, "CN");
            /* Who has no address goes by his name. */
            int nobody = value && name && strcmp(value, "invalid:nomail") == 0;
            printf("WHO %s\n", nobody ? name : value ? value : "");
        }
    }
    struct icaltimetype start = icalcomponent_get_dtstart(event);
    if (icaltime_is_null_time(start))
        return;
    put(&in, start);
    expand_rules(event, ICAL_RRULE_PROPERTY, start, &in);
    expand_dates(event, ICAL_RDATE_PROPERTY, &in);
    expand_rules(event, ICAL_EXRULE_PROPERTY, start, &out);
    expand_dates(event, ICAL_EXDATE_PROPERTY, &out);
    qsort(in.at, in.count, sizeof in.at[0], compare_times);
    for (int i = 0; i < in.count; i++) {
        int gone = i > 0 && strcmp(in.at[i], in.at[i - 1]) == 0;
        for (int j = 0; j < out.count && !gone; j++)
            gone = strcmp(in.at[i], out.at[j]) == 0;
        if (!gone)
            printf("AT %s\n", in.at[i]);
    }
}

static void expand_all(icalcomponent *component)
{
    icalcomponent_kind kind = icalcomponent_isa(component);
    if (kind == ICAL_VEVENT_COMPONENT || kind == ICAL_VTODO_COMPONENT)
        expand_event(component);
    for (icalcomponent *c = icalcomponent_get_first_component(component, ICAL_ANY_COMPONENT); c;
         c = icalcomponent_get_next_component(component, ICAL_ANY_COMPONENT))
        expand_all(c);
}

static int expand(const char *name)
{
    size_t length;
    char *text = slurp(name, &length);
    icalcomponent *all = icalparser_parse_string(text);
    if (!all)
        return 65;
    expand_all(all);
    return 0;
}

int main(int argc, char **argv)
{
    icalerror_set_errors_are_fatal(0);
    if (argc == 3 && strcmp(argv[1], "convert") == 0)
        return convert(argv[2]);
    if (argc == 3 && strcmp(argv[1], "expand") == 0)
        return expand(argv[2]);
    fputs("usage: driver convert FILE.vcs | driver expand FILE.ics\n", stderr);
    return 64;
}
