"""The chat page: a conversation from its first word to its deletion, and what happens to bad links and failures."""

from collections.abc import Iterator

import pytest

from core.ids import new_conversation_id, new_message_id
from tests.conftest import make_settings
from tests.model_server import Behaviour, ModelServer
from tests.pages.conftest import button_named, has_button, listed, opened_popover, said, say, texts

TEN = " ".join(f"w{number}" for number in range(1, 11))


class TestAConversation:
    def test_it_begins_empty_and_says_who_answers(self, tab):
        at = tab("ada")
        assert said(at) == []
        assert "What would you like to talk about?" in texts(at)
        assert "The offline demo model answers here" in texts(at)
        assert "Your conversations will be listed here." in texts(at)

    def test_a_message_is_answered_and_named_in_the_address(self, tab):
        at = say(tab("ada"), "Write 10 tokens")
        assert said(at) == [("user", "Write 10 tokens"), ("assistant", TEN)]
        assert listed(at) == ["Write 10 tokens"]
        assert at.query_params["conversation"]
        assert "Offline demo" in texts(at)

    def test_a_second_message_goes_on_below_the_first(self, tab):
        at = say(say(tab("ada"), "Write 10 tokens"), "What did I say first?")
        assert [who for who, _ in said(at)] == ["user", "assistant", "user", "assistant"]
        assert "“Write 10 tokens”" in said(at)[3][1]

    def test_its_address_opens_it_in_another_tab(self, tab):
        at = say(tab("ada"), "Write 10 tokens")
        again = tab("ada", conversation=at.query_params["conversation"])
        assert said(again) == said(at)

    def test_an_example_is_sent_when_it_is_chosen(self, tab):
        at = tab("ada").button_group(key="chat.example").select("Write a table").run()
        assert said(at)[0] == ("user", "Write a table")
        assert "| message | 8 | ✓ |" in said(at)[1][1]

    def test_new_chat_leaves_it_and_the_list_leads_back(self, tab):
        at = say(tab("ada"), "Write 10 tokens")
        at.button(key="chat.new").click().run()
        assert said(at) == []
        button_named(at, "Write 10 tokens").click().run()
        assert said(at) == [("user", "Write 10 tokens"), ("assistant", TEN)]


class TestTheListOfConversations:
    def test_a_deletion_can_be_taken_back(self, tab):
        at = say(tab("ada"), "Write 10 tokens")
        at.menu_button(key="chat.menu").click("Delete").run()
        assert (said(at), listed(at)) == ([], [])
        assert "Deleted “Write 10 tokens”." in texts(at)
        at.button(key="chat.undo").click().run()
        assert said(at) == [("user", "Write 10 tokens"), ("assistant", TEN)]
        assert listed(at) == ["Write 10 tokens"]
        assert not has_button(at, "Undo")

    def test_a_search_shows_only_what_it_finds(self, tab):
        at = say(tab("ada"), "Plums, 3 tokens")
        at.button(key="chat.new").click().run()
        at = say(at, "苹果和梨, 3 tokens")
        at.text_input(key="chat.search").set_value("苹果").run()
        assert listed(at) == ["苹果和梨, 3 tokens"]
        at.text_input(key="chat.search").set_value("nowhere").run()
        assert listed(at) == []
        assert "Nothing is called that." in texts(at)


class TestLinksThatLeadNowhere:
    @pytest.mark.parametrize("key", ["conversation", "message"])
    @pytest.mark.parametrize("value", ["", "nonsense", "conv_1_2", "' OR 1=1 --", "\x00", "对话" * 300])
    def test_a_bad_one_is_said_and_a_new_conversation_offered(self, tab, key, value):
        at = tab("ada", **{key: value})
        assert at.exception.values == []
        assert len(at.warning) == 1
        assert say(at, "Write 10 tokens").chat_message[1].markdown[0].value == TEN

    def test_another_persons_is_not_there(self, tab):
        hers = say(tab("ada"), "A secret, 10 tokens").query_params["conversation"]
        his = tab("ben", conversation=hers)
        missing = tab("ben", conversation=new_conversation_id())
        assert [warning.value for warning in his.warning] == [warning.value for warning in missing.warning]
        assert "secret" not in texts(his)
        assert (said(his), listed(his)) == ([], [])

    def test_a_message_that_never_was_is_not_there(self, tab):
        at = tab("ada", message=new_message_id())
        assert len(at.warning) == 1
        assert at.exception.values == []

    def test_an_analyst_reads_but_cannot_write(self, tab):
        hers = say(tab("ada"), "Write 10 tokens").query_params["conversation"]
        at = tab("ann", role="analyst", conversation=hers)
        assert said(at) == [("user", "Write 10 tokens"), ("assistant", TEN)]
        assert (len(at.chat_input), [menu.key for menu in at.menu_button if menu.key == "chat.menu"]) == (0, [])


class TestWhatIsShown:
    @pytest.mark.parametrize("show", ["tokens", "steps", "result"])
    def test_each_way_is_taken_from_the_address_and_ends_with_the_same_answer(self, tab, show):
        at = opened_popover(tab("ada", show=show), "chat.options")
        assert at.segmented_control(key="show").value == show
        assert said(say(at, "Write 10 tokens"))[1] == ("assistant", TEN)

    def test_an_unknown_way_falls_back(self, tab):
        at = tab("ada", show="everything")
        assert at.exception.values == []
        assert said(say(at, "Write 10 tokens"))[1] == ("assistant", TEN)

    def test_markdown_in_a_title_is_shown_as_it_was_typed(self, tab):
        at = say(tab("ada"), "*Stars* and $dollars$, 3 tokens")
        assert r"#### \*Stars\* and \$dollars\$, 3 tokens" in texts(at)


class TestAFailedAnswer:
    @pytest.fixture
    def model(self) -> Iterator[ModelServer]:
        with ModelServer(tokens_per_second=0) as model:
            yield model

    @pytest.fixture
    def settings(self, tmp_path, model):
        return make_settings(
            tmp_path, openai_base_url=model.base_url, openai_api_key="sk-not-to-be-seen", model_max_retries=0
        )

    def test_it_is_said_and_another_try_completes_it(self, tab, model):
        model.script(Behaviour(status=500), Behaviour(text="All is well now."))
        at = say(tab("ada"), "Hello")
        assert len(at.error) == 1
        assert at.error[0].value.endswith(".")
        assert "sk-not-to-be-seen" not in texts(at)
        button_named(at, "Try again").click().run()
        assert said(at) == [("user", "Hello"), ("assistant", "All is well now.")]
        assert (len(at.error), has_button(at, "Try again")) == (0, False)

    def test_what_was_said_before_it_broke_is_kept(self, tab, model):
        model.script(Behaviour(tokens=10, cut_after=4))
        at = say(tab("ada"), "Hello")
        assert said(at)[1] == ("assistant", "w1 w2 w3 w4")
        assert (len(at.error), has_button(at, "Try again")) == (1, True)

    def test_a_real_model_is_not_called_a_demo(self, tab, model):
        at = say(tab("ada"), "Hello")
        assert "demo" not in texts(at)


class TestWhatHappened:
    def test_the_fold_tells_the_run_when_it_is_opened(self, tab, opened):
        at = say(tab("ada"), "Write 10 tokens")
        assert len(at.dataframe) == 0
        key = next(key for key in at.session_state.to_dict() if key.startswith("chat.details."))
        at.session_state[key] = True
        at.run()
        assert at.exception.values == []
        steps, events = at.dataframe
        assert "conversation" in steps.value["step"].str.strip().tolist()
        assert (events.value["kind"] == "token").sum() == 10
        assert key.removeprefix("chat.details.") in [code.value for code in at.code]

    def test_a_replay_ends_with_the_same_answer(self, tab):
        at = say(tab("ada"), "Write 10 tokens")
        key = next(key for key in at.session_state.to_dict() if key.startswith("chat.details."))
        at.session_state[key] = True
        button_named(at.run(), "Replay").click().run()
        assert at.exception.values == []
        assert said(at)[1] == ("assistant", TEN)
