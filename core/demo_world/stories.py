"""What people say in the demo world, in English and Chinese: each story is one session, told by its teller.

The offline demo model answers, so the stories choose words that it shows something for: tables, code, formulas,
plans with their approvals, questions about one's own numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from core.access.viewer import Viewer
from core.demo_world.teller import Teller


@dataclass(frozen=True)
class Cast:
    """Who else takes part, and the dice of the world."""

    analyst: Viewer
    admin: Viewer
    dice: Random


Story = Callable[[Teller, Cast], None]
_ORDERS = ("1042", "1187", "2063", "2510", "3391")
_CITIES = ("Lisbon", "Oslo", "Kyoto", "Montréal", "Tallinn")
_CITIES_ZH = ("杭州", "成都", "青岛", "厦门", "西安")
_PRODUCTS = ("the mobile app", "the billing page", "the search box", "the new onboarding")
_PRODUCTS_ZH = ("手机应用", "账单页面", "搜索框", "新手引导")


def refund(told: Teller, cast: Cast) -> None:
    order = cast.dice.choice(_ORDERS)
    first = told.say(
        f"A customer wants a refund for order {order}; the parcel came three weeks late. What may I offer?"
    )
    draft = told.say("Write a polite answer, in no more than five sentences.")
    told.edit(draft, "Write a polite answer that also offers a voucher of 10%.")
    told.say("Put the options side by side in a table.")
    told.star(first)
    told.tag("refund", "customer")
    if cast.dice.random() < 0.6:
        told.review("good", "Kept to the policy.", by=cast.analyst)


def refund_zh(told: Teller, cast: Cast) -> None:
    order = cast.dice.choice(_ORDERS)
    told.say(f"客户要求订单 {order} 退款,包裹晚到了三个星期,我可以怎么处理?")
    draft = told.say("帮我写一封礼貌的回复,不超过五句话。")
    told.edit(draft, "帮我写一封礼貌的回复,并附上一张九折优惠券。")
    told.tag("退款")
    if cast.dice.random() < 0.5:
        told.review("bad", "答应得太多,政策只允许部分退款。", by=cast.analyst)


def trip(told: Teller, cast: Cast) -> None:
    city = cast.dice.choice(_CITIES)
    asked = told.say(
        f"Plan a team trip to {city}: book trains, find a place to stay, choose a museum", agent="planner"
    )
    told.decide(asked, "approve")
    told.say_elsewhere(f"What should we pack for {city} in November? A table, please.")


def trip_zh(told: Teller, cast: Cast) -> None:
    city = cast.dice.choice(_CITIES_ZH)
    asked = told.say(f"计划一次去{city}的团队旅行:订车票,找住处,选一个博物馆", agent="planner")
    told.decide(asked, "refuse", reason="预算还没有批准")
    told.say(f"那先给我一个{city}三天行程的表格。", agent="assistant")


def launch_waiting(told: Teller, cast: Cast) -> None:
    product = cast.dice.choice(_PRODUCTS)
    told.say(f"Prepare the launch of {product}: write the notes, tell support, publish the page", agent="planner")


def launch_waiting_zh(told: Teller, cast: Cast) -> None:
    product = cast.dice.choice(_PRODUCTS_ZH)
    told.say(f"准备发布{product}:写说明,通知客服,发布页面", agent="planner")


def unclear(told: Teller, _cast: Cast) -> None:
    asked = told.say("Hmm, can you help me with the thing from yesterday?", agent="router")
    if asked.status == "waiting":
        told.decide(asked, "answer", answer="Talk it over with me")


def numbers(told: Teller, cast: Cast) -> None:
    told.say("How many messages did I write, and what did my calls cost?", agent="analyst")
    told.say("Search my messages for refund", agent="analyst")
    if cast.dice.random() < 0.5:
        told.score(told.said[-1], cast.dice.choice((3, 4, 5)), "Found what I meant.")


def numbers_zh(told: Teller, _cast: Cast) -> None:
    told.say("我的会话里一共有多少消息,调用花了多少费用?", agent="analyst")
    told.say("在我的消息里搜索退款", agent="analyst")


def formula(told: Teller, cast: Cast) -> None:
    first = told.say("Explain compound interest with a formula and a bit of code.")
    told.ask_again(first)
    told.say("And now for a monthly rate?")
    told.fork(first, "Explain the same to a ten-year-old.")
    told.name_state(first, "the first explanation")
    told.note(first, "Good enough for the handbook.")
    told.score(first, 5, "Clear.", by=cast.analyst)


def formula_zh(told: Teller, _cast: Cast) -> None:
    first = told.say("用公式和代码解释复利。")
    told.say("如果按月计息呢?")
    told.fork(first, "给十岁的孩子解释一遍。")
    told.star(first)


def second_opinions(told: Teller, _cast: Cast) -> None:
    told.say("We want to shorten our weekly report. Ideas?")
    told.ask_several("Draft the new outline as a table.", ("assistant", "router"))
    told.tag("report")


def stopped(told: Teller, _cast: Cast) -> None:
    told.say("I need a very thorough text about our release process.")
    told.stop_in("Give me 4000 tokens of it.")
    told.say("Shorter, please: the table only.")


def stopped_zh(told: Teller, _cast: Cast) -> None:
    told.say("我需要一份关于发布流程的详细说明。")
    told.stop_in("写 4000 个词。")


def failing(told: Teller, cast: Cast) -> None:
    failed = told.fail("Plan the office move: measure rooms, order boxes, tell everybody")
    if cast.dice.random() < 0.5:
        told.edit(failed, "Plan the office move, only the first step: measure rooms")
    else:
        told.tag("to check", by=cast.analyst)


def failing_zh(told: Teller, cast: Cast) -> None:
    told.fail("计划搬办公室:量房间,订纸箱,通知大家")
    told.tag("待查", by=cast.analyst)


def long_talk(told: Teller, cast: Cast) -> None:
    told.say("Let us go through the questions of the survey one by one.")
    for number in range(1, cast.dice.randint(6, 14)):
        told.say(f"Question {number}: how happy are people with {cast.dice.choice(_PRODUCTS)}?")
    told.say("What did I say first?")


def long_talk_zh(told: Teller, cast: Cast) -> None:
    told.say("我们一题一题地看问卷。")
    for number in range(1, cast.dice.randint(5, 10)):
        told.say(f"第 {number} 题:大家对{cast.dice.choice(_PRODUCTS_ZH)}满意吗?")
    told.say("我最先说了什么?")


def short(told: Teller, cast: Cast) -> None:
    told.say(
        cast.dice.choice(("Translate 'good morning' into Chinese.", "What is a checkpoint?", "Tell me a joke."))
    )


def short_zh(told: Teller, cast: Cast) -> None:
    told.say(cast.dice.choice(("把“早上好”翻译成英文。", "什么是检查点?", "讲个笑话。")))


ENGLISH: tuple[Story, ...] = (
    *(refund, trip, launch_waiting, unclear, numbers, formula, second_opinions, stopped, failing, long_talk),
    *(short, short),
)
CHINESE: tuple[Story, ...] = (
    *(refund_zh, trip_zh, launch_waiting_zh, numbers_zh, formula_zh, stopped_zh, failing_zh, long_talk_zh),
    *(short_zh, short_zh),
)
