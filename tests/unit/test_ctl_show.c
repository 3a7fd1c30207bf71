/* test_ctl_show.c -- whatever document comes, each kind of answer becomes text. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl_commands.h"
#include "client/ctl_show.h"

static char *shown(ctl_show_fn *show, const char *json)
{
        char *text;
        size_t size;
        json_t *doc = json_loads(json, 0, NULL);
        cr_assert(doc, "%s", json);
        FILE *f = open_memstream(&text, &size);
        show(doc, f);
        fclose(f);
        json_decref(doc);
        return text;
}

static void expect(ctl_show_fn *show, const char *json, const char *text)
{
        char *got = shown(show, json);
        cr_expect_str_eq(got, text);
        free(got);
}

Test(ctl_show, what_can_be_shown_is_found_by_its_word)
{
        char words[] = CTL_SHOW_WORDS;
        for (char *w = strtok(words, "|"); w; w = strtok(NULL, "|"))
                cr_expect(ctl_show_find(w), "%s", w);
        cr_expect_null(ctl_show_find("node"));
        cr_expect_eq((void *)ctl_show_find("pins"), (void *)ctl_show_pins);
}

Test(ctl_show, short_answers_are_sentences)
{
        expect(ctl_show_pinned, "{\"generation\":7,\"left_ms\":15000}", "pinned for 15.0s, generation 7\n");
        expect(ctl_show_pinned, "{\"generation\":7,\"left_ms\":300000,\"cut\":true}",
               "pinned for 5m, as long as max_pin_seconds lets it be, generation 7\n");
        char *nodes = shown(ctl_show_nodes, "{\"nodes\":[{\"position\":\"0/1\",\"timeline\":0}]}");
        cr_expect(strstr(nodes, "  0/1              -    0/0"), "a timeline that is unknown is none: %s",
                  nodes);
        free(nodes);
        expect(ctl_show_admin, "{\"cluster\":\"main\",\"node\":\"a\",\"admin\":\"drain\"}",
               "main/a: drain\n");
        expect(ctl_show_admin,
               "{\"cluster\":\"main\",\"node\":\"a\",\"admin\":\"drain\",\"warning\":\"none is left\"}",
               "main/a: drain\n  ! none is left\n");
        expect(ctl_show_reload, "{\"reloaded\":true,\"messages\":[\"x\"]}", "x\nreloaded\n");
        expect(ctl_show_clients, "{}", "PID  UID  SINCE  LAST  REQUESTS\n0 clients\n");
        char *text = shown(ctl_show_pins, "{\"pins\":[{}],\"total\":1,\"truncated\":false}");
        cr_expect(strstr(text, "\n1 pin\n"), "%s", text);
        free(text);
        text = shown(ctl_show_status, "{\"pins\":1,\"max_pins\":9,\"clients\":1}");
        cr_expect(strstr(text, "\n1 pin (max_pins 9), 1 client\n"), "%s", text);
        free(text);
}

Test(ctl_show, members_of_another_type_or_none_show_as_nothing)
{
        static ctl_show_fn *const all[] = {ctl_show_status,  ctl_show_nodes,  ctl_show_pins,
                                           ctl_show_clients, ctl_show_config, ctl_show_stats,
                                           ctl_show_admin,   ctl_show_reload, ctl_show_pinned};
        static const char *const documents[] = {"{}", "[]",
                                                "{\"nodes\":[1,null,{}],\"pins\":[{\"released\":[1,\"a\"]}],"
                                                "\"clusters\":[{\"schedule\":3,\"nodes\":[{}]},{}]}",
                                                "{\"clients\":{},\"options\":[[]],\"stats\":{\"a\":[]},"
                                                "\"why\":[3],\"messages\":[{}],\"left_ms\":\"x\"}"};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                for (size_t k = 0; k < sizeof documents / sizeof *documents; k++)
                        free(shown(all[i], documents[k]));
}

Test(ctl_show, a_floor_is_shown_with_its_cost_while_it_lasts)
{
        char *text =
            shown(ctl_show_status,
                  "{\"clusters\":[{\"floor_left_ms\":1,\"floor_generation\":42,\"floor_why\":\"lost\","
                  "\"floor_cost\":\"it costs nothing\"},{\"floor_left_ms\":0,\"floor_cost\":\"more\"}]}");
        cr_expect(
            strstr(
                text,
                "\n  floor: every key needs generation 42 for 1ms more: lost\n         it costs nothing\n"),
            "%s", text);
        cr_expect_null(strstr(text, "more\n"), "%s", text);
        free(text);
}

Test(ctl_show, a_long_schedule_is_cut)
{
        char json[4096] = "{\"clusters\":[{\"name\":\"main\",\"primary\":\"p\",\"schedule\":[\"a\"";
        for (int i = 0; i < 300; i++)
                strcat(json, ",\"b\"");
        strcat(json, "]}]}");
        char *text = shown(ctl_show_status, json);
        cr_expect(strstr(text, "  schedule: a b b b b b b b b b b b b b b b ...\n"), "%s", text);
        free(text);
}
